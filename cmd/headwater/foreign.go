package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// originKey is the metadata key for the source of an event made elsewhere.
const originKey = "cesource"

// foreign yields a commit for each CloudEvent that was made elsewhere.
func foreign(lines iter.Seq2[line, error], kind string) iter.Seq2[*batch, error] {
	return func(yield func(*batch, error) bool) {
		for l, err := range lines {
			b := &batch{}
			if err == nil {
				b, err = foreignBatch(l.text, kind)
			}
			b.line = l.number
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

func foreignBatch(text []byte, kind string) (*batch, error) {
	ce, err := parseCloudEvent(text)
	if err != nil {
		return &batch{}, err
	}
	b := &batch{stream: eventstore.StreamID{Kind: kind, ID: ce.attributes[ceSubject]}, id: ce.attributes[ceID]}
	if b.stream.ID == "" {
		return b, errors.New("attribute subject is missing, which is to name the stream")
	}
	if b.time, err = ce.time(); err != nil {
		return b, err
	}
	b.events = []eventstore.EventData{ce.event()}
	b.metadata, b.left = ce.foreignMetadata()
	return b, nil
}

// foreignMetadata returns the attributes that can be kept as metadata, and how
// many cannot.
func (ce *cloudEvent) foreignMetadata() (kept map[string]string, left int) {
	kept = make(map[string]string)
	for name, value := range ce.attributes {
		switch name {
		case ceSpec, ceID, ceType, ceSubject, ceTime, ceContentType:
			continue
		case ceSource:
			if _, taken := ce.attributes[originKey]; taken {
				left++
				continue
			}
			name = originKey
		}
		if !canBeKey(name) || !canBeValue(value) {
			left++
			continue
		}
		kept[name] = value
	}
	return kept, left
}

// canBeKey reports whether a log takes the name of an attribute as a key of
// metadata, see eventstore.AppendOptions.
func canBeKey(name string) bool {
	return len(name) >= 1 && len(name) <= 20 && name != ceSchema && !strings.HasPrefix(name, "hw") &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// canBeValue does the same for its value. Beyond some length it would crowd out
// the rest.
func canBeValue(value string) bool {
	const longest = 4096
	return len(value) <= longest && utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool {
		return r < 0x20 || 0x7f <= r && r <= 0x9f || 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe
	})
}

// rememberedIDs is how many commit ids are kept, of all streams together. With
// what a stream itself takes they come to some 70 MB.
const (
	rememberedIDs = 1 << 20
	streamCost    = 16 // ids that a stream takes the room of
)

// A merger appends commits at the end of their streams that these do not have
// yet. The server finds a repeated commit only for a while, and an append one of
// the last 64, so the whole stream is read when it is first met. What is
// appended then is guarded by what was read: if another writer was faster, that
// is read too.
type merger struct {
	log     *eventstore.Store
	streams map[eventstore.StreamID]*known
	most    int // ids to keep
	ids     int // that are kept
	seed    maphash.Seed
}

// known is what a stream has: a hash of each commit's events by a hash of its
// id. That a new event has both by chance will not happen.
type known struct {
	at      eventstore.Revision
	commits map[uint64]uint64
}

func newMerger(log *eventstore.Store, most int) *merger {
	return &merger{log: log, streams: make(map[eventstore.StreamID]*known), most: most, seed: maphash.MakeSeed()}
}

var errOtherEvent = errors.New("the stream has an event of this id already, and it is another one")

// append appends a commit, and reports whether it was there already.
func (m *merger) append(ctx context.Context, b *batch) (present bool, err error) {
	k, err := m.stream(ctx, b.stream)
	if err != nil {
		return false, err
	}
	id, content := maphash.String(m.seed, b.id), m.content(b.events)
	for {
		if there, ok := k.commits[id]; ok && there == content {
			return true, nil
		} else if ok {
			return false, fmt.Errorf("stream %q, event id %q: %w", b.stream, b.id, errOtherEvent)
		}
		at, err := m.log.Append(ctx, b.stream, k.at, b.events,
			&eventstore.AppendOptions{CommitID: b.id, Time: b.time, Metadata: b.metadata})
		if err == nil {
			k.at, k.commits[id] = at, content
			m.grow(1, k)
			return at.Replayed, nil
		}
		if !errors.Is(err, eventstore.ErrConflict) {
			return false, err
		}
		before := k.at.Version
		if failed := m.read(ctx, b.stream, k); failed != nil {
			return false, failed
		}
		if k.at.Version == before {
			return false, err // a writer that is not to be seen
		}
	}
}

// stream returns what a stream has.
func (m *merger) stream(ctx context.Context, stream eventstore.StreamID) (*known, error) {
	if k, ok := m.streams[stream]; ok {
		return k, nil
	}
	k := &known{commits: make(map[uint64]uint64)}
	m.streams[stream] = k
	m.grow(streamCost, k)
	if err := m.read(ctx, stream, k); err != nil {
		return nil, err
	}
	return k, nil
}

// read reads what is new in a stream.
func (m *merger) read(ctx context.Context, stream eventstore.StreamID, k *known) error {
	var commit []eventstore.EventData
	for e, err := range m.log.Read(ctx, stream, &eventstore.ReadOptions{After: k.at}) {
		if err != nil {
			return err
		}
		commit = append(commit, e.EventData)
		if at := e.Revision(); at.Version == e.Version {
			before := len(k.commits)
			k.commits[maphash.String(m.seed, e.CommitID)] = m.content(commit)
			k.at, commit = at, commit[:0]
			m.grow(len(k.commits)-before, k) // an id may be there twice
		}
	}
	return nil
}

// grow notes that so many ids more are kept, and forgets streams but one where
// these are too many. It takes any: to forget those that were not met for
// longest would forget, of streams that come in turns, always the next one.
func (m *merger) grow(n int, but *known) {
	m.ids += n
	for stream, k := range m.streams {
		if m.ids <= m.most {
			return
		}
		if k != but {
			delete(m.streams, stream)
			m.ids -= len(k.commits) + streamCost
		}
	}
}

func (m *merger) content(events []eventstore.EventData) uint64 {
	var h maphash.Hash
	h.SetSeed(m.seed)
	for _, e := range events {
		maphash.WriteComparable(&h, [2]string{e.Type, e.ContentType})
		maphash.WriteComparable(&h, len(e.Data))
		_, _ = h.Write(e.Data) // never fails
	}
	return h.Sum64()
}
