package eventstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// A commit is what one append writes: 1 or more events of one stream, all or
// nothing, in one message.
type commit struct {
	logID    string // identity of its log
	logName  string
	stream   StreamID
	id       string
	time     time.Time
	metadata map[string]string
	events   []EventData

	first   uint64   // version of its first event
	ordinal uint64   // its number among the stream's commits, from 1
	back    []uint64 // positions of earlier commits, as ancestors says
	digest  digest   // over its content and its predecessor's digest

	position uint64    // in the log; 0 before it is stored
	recorded time.Time // when it was stored
}

func (c *commit) last() uint64 { return c.first + uint64(len(c.events)) - 1 }

// previous returns the position of the commit before this one, 0 for none.
func (c *commit) previous() uint64 {
	if len(c.back) == 0 {
		return 0
	}
	return c.back[0]
}

func (c *commit) mark() mark {
	if c == nil {
		return mark{}
	}
	return mark{version: c.last(), position: c.position, id: c.id, ordinal: c.ordinal, digest: c.digest, back: c.back}
}

func (c *commit) revision() Revision { return c.mark().revision(c.logID, c.stream) }

// follow places the commit after base.
func (c *commit) follow(base mark) {
	c.first = base.version + 1
	c.ordinal = base.ordinal + 1
	c.back = nil
	if base.ordinal > 0 {
		c.back = extend(base.ordinal, base.position, base.back)
	}
	c.digest = c.digestAfter(base.digest)
}

func (c *commit) event(i int) Event {
	return Event{
		EventData: c.events[i], Stream: c.stream, Version: c.first + uint64(i),
		Position: c.position, CommitID: c.id, Time: c.time, Recorded: c.recorded,
		Metadata: c.metadata, commit: c,
	}
}

// sameEvents reports whether two commits say the same. Time and metadata
// belong to the attempt, which may be a second one.
func (c *commit) sameEvents(o *commit) bool {
	return slices.EqualFunc(c.events, o.events, func(a, b EventData) bool {
		return a.Type == b.Type && a.ContentType == b.ContentType && string(a.Data) == string(b.Data)
	})
}

// A digest covers a commit's content and the digest of the commit before it,
// so that whoever holds one vouches for the whole history of the stream. It
// leaves out positions and the log's name, and so survives a copy into another
// log. It is the first 16 bytes of a SHA-256.
type digest [16]byte

func (d digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

func parseDigest(s string) (d digest, err error) {
	const length = 22 // of the base64 text
	n := 0
	if len(s) == length {
		n, err = base64.RawURLEncoding.Strict().Decode(d[:], []byte(s))
	}
	if n != len(d) || err != nil {
		return d, errors.New("the digest is malformed")
	}
	return d, nil
}

func (c *commit) digestAfter(previous digest) digest {
	buf := canonicalPool.Get().(*canonical)
	defer canonicalPool.Put(buf)
	w := (*buf)[:0]
	w.text("headwater commit 1")
	w = append(w, previous[:]...)
	w.text(c.stream.Kind)
	w.text(c.stream.ID)
	w.text(c.id)
	w.number(c.first)
	w.number(c.ordinal)
	var at [len(time.RFC3339Nano)]byte
	w.text(string(c.time.AppendFormat(at[:0], time.RFC3339Nano)))
	w.number(uint64(len(c.metadata)))
	for _, key := range c.metadataKeys() {
		w.text(key)
		w.text(c.metadata[key])
	}
	w.number(uint64(len(c.events)))
	for _, e := range c.events {
		w.text(e.Type)
		w.text(e.ContentType)
		w.number(uint64(len(e.Data)))
		w = append(w, e.Data...)
	}
	*buf = w
	sum := sha256.Sum256(w)
	return digest(sum[:len(digest{})])
}

// metadataKeys returns the keys in order.
func (c *commit) metadataKeys() []string {
	if len(c.metadata) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(c.metadata))
}

// canonical is the form of a commit that is digested: numbers as unsigned
// varints, texts with their length before them.
type canonical []byte

var canonicalPool = sync.Pool{New: func() any { return new(canonical) }}

func (w *canonical) number(n uint64) { *w = binary.AppendUvarint(*w, n) }

func (w *canonical) text(s string) {
	w.number(uint64(len(s)))
	*w = append(*w, s...)
}
