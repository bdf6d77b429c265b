package eventstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"time"
)

// A commit is what one append writes: 1 or more events of one stream, all or
// nothing, in one message.
type commit struct {
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

func (c *commit) revision() Revision {
	return Revision{
		Version: c.last(), Position: c.position, CommitID: c.id,
		ordinal: c.ordinal, digest: c.digest, back: c.back,
	}
}

// follow places the commit after base.
func (c *commit) follow(base Revision) {
	c.first = base.Version + 1
	c.ordinal = base.ordinal + 1
	c.back = nil
	if base.ordinal > 0 {
		c.back = extend(base.ordinal, base.Position, base.back)
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

func (c *commit) digestAfter(previous digest) digest {
	w := digester{Hash: sha256.New()}
	w.text("headwater commit 1")
	w.Write(previous[:])
	w.text(c.stream.Kind)
	w.text(c.stream.ID)
	w.text(c.id)
	w.number(c.first)
	w.number(c.ordinal)
	w.text(c.time.Format(time.RFC3339Nano))
	w.number(uint64(len(c.metadata)))
	for _, key := range slices.Sorted(maps.Keys(c.metadata)) {
		w.text(key)
		w.text(c.metadata[key])
	}
	w.number(uint64(len(c.events)))
	for _, e := range c.events {
		w.text(e.Type)
		w.text(e.ContentType)
		w.number(uint64(len(e.Data)))
		w.Write(e.Data)
	}
	var d digest
	copy(d[:], w.Sum(nil))
	return d
}

// digester writes the canonical form: numbers as unsigned varints, texts with
// their length before them.
type digester struct {
	hash.Hash
	buf []byte
}

func (w *digester) number(n uint64) {
	w.buf = binary.AppendUvarint(w.buf[:0], n)
	w.Write(w.buf)
}

func (w *digester) text(s string) {
	w.buf = binary.AppendUvarint(w.buf[:0], uint64(len(s)))
	w.buf = append(w.buf, s...)
	w.Write(w.buf)
}
