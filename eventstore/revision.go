package eventstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// Revision is where a stream stands: after a given commit. The zero Revision
// is a stream without events. As an [Expectation] it says "nothing since", and
// is the cheapest one: the append needs no read.
//
// A Revision holds more than its fields show. Use those that this package
// returned; for a [Store], one that was put together by hand, or belongs to
// another stream or log, is an [InvalidError].
type Revision struct {
	Version  uint64 // of the stream's last event
	Position uint64 // of the stream's last commit in the log
	CommitID string // of the stream's last commit
	// Replayed is set in the answer to an append whose commit id the stream
	// held already, with the same events: that commit is where this Revision
	// stands, and nothing was stored now.
	Replayed bool

	of *origin // nil: no events
}

// origin is what a revision is the revision of.
type origin struct {
	log    string // the log's identity
	stream StreamID
	mark   mark
}

// mark is what a revision means: the last commit of the stream, with all that
// the next one needs to follow it. The zero mark is a stream without events.
type mark struct {
	version  uint64
	position uint64
	id       string
	ordinal  uint64   // commits so far
	digest   digest   // of the last commit
	back     []uint64 // positions the last commit names
}

func (m mark) revision(log string, stream StreamID) Revision {
	if m.ordinal == 0 {
		return Revision{}
	}
	m.id = strings.Clone(m.id) // of the message's headers, which it would keep
	return Revision{Version: m.version, Position: m.position, CommitID: m.id, of: &origin{log, stream, m}}
}

// mark returns what a revision of the stream means.
func (s *Store) mark(stream StreamID, r Revision) (mark, error) {
	switch {
	case r.of == nil && r.Version == 0 && r.Position == 0:
		return mark{}, nil
	case r.of == nil:
		return mark{}, &InvalidError{What: "revision", Value: r.String(), Reason: "was not returned by this package"}
	case r.of.log != s.identity || r.of.stream != stream:
		return mark{}, &InvalidError{What: "revision", Value: r.String(), Reason: "is of stream " + r.of.stream.String() + " of a log that may be another one; read " + stream.String() + " first"}
	}
	return r.of.mark, nil
}

// Stream returns the stream that the revision is of, if it knows: one that was put
// together by hand, that of a stream without events, and one of another store do
// not.
func (r Revision) Stream() (StreamID, bool) {
	if r.of == nil {
		return StreamID{}, false
	}
	return r.of.stream, true
}

// String returns, for example, "version 3".
func (r Revision) String() string { return Version(r.Version).String() }

func (Revision) expectation() {}

const revisionFormat = 1

var errRevision = errors.New("the binary form of a revision is malformed")

// MarshalBinary returns a form of the revision to keep outside of the process,
// with a snapshot or a checkpoint for example. Replayed is left out.
// There is no error.
func (r Revision) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// AppendBinary appends what MarshalBinary returns.
func (r Revision) AppendBinary(b []byte) ([]byte, error) {
	w := canonical(append(b, revisionFormat))
	w.number(r.Version)
	w.number(r.Position)
	w.text(r.CommitID)
	if r.of == nil {
		w.number(0)
		return w, nil
	}
	m := r.of.mark
	w.number(m.ordinal)
	w.text(r.of.log)
	w.text(r.of.stream.Kind)
	w.text(r.of.stream.ID)
	w = append(w, m.digest[:]...)
	newer := m.position
	for _, p := range m.back {
		w.number(newer - p)
		newer = p
	}
	return w, nil
}

// UnmarshalBinary sets the revision to one that MarshalBinary returned. Any
// other data is an error, and leaves the revision as it was. That the form is
// that of a revision does not mean that a log has it: reads and appends find
// out.
func (r *Revision) UnmarshalBinary(data []byte) error {
	d := decoder{rest: data}
	if d.number() != revisionFormat {
		return errRevision
	}
	rev := Revision{Version: d.number(), Position: d.number(), CommitID: d.text()}
	if ordinal := d.number(); ordinal > 0 {
		rev.of = &origin{d.text(), StreamID{d.text(), d.text()}, mark{
			version: rev.Version, position: rev.Position, id: rev.CommitID, ordinal: ordinal,
		}}
		d.mark(&rev.of.mark)
		if ordinal > rev.Version || rev.Position < ordinal {
			return errRevision
		}
	}
	// There is one form of each revision.
	if again, err := rev.MarshalBinary(); d.failed || err != nil || !bytes.Equal(again, data) {
		return errRevision
	}
	*r = rev
	return nil
}

// decoder reads what canonical wrote. After a failure what it returns is zero.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.failed {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) || d.failed {
		d.failed = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(d.number())) }

// mark reads the digest and the named positions of a mark that has its ordinal
// and position.
func (d *decoder) mark(m *mark) {
	copy(m.digest[:], d.bytes(uint64(len(m.digest))))
	var buf [maxAncestors]uint64
	newer := m.position
	for range ancestors(buf[:0], m.ordinal) {
		distance := d.number()
		if distance == 0 || distance >= newer {
			d.failed = true
			return
		}
		newer -= distance
		m.back = append(m.back, newer)
	}
}
