package eventstore

import (
	"strconv"
	"time"
)

// EventData is an event to append.
type EventData struct {
	// Type is the event's name on the wire, such as "order.placed": any
	// non-empty text of at most 255 bytes without control characters.
	Type string
	// ContentType is the media type of Data, such as "application/json";
	// empty: not stated.
	ContentType string
	// Data is the payload, of any bytes, and may be empty.
	Data []byte
}

// Event is an event as the log holds it. Data and Metadata are shared between
// copies: read them, do not change them.
type Event struct {
	EventData
	Stream   StreamID
	Version  uint64 // 1, 2, 3 … within the stream
	Position uint64 // of its commit in the log; shared by the events of a commit
	CommitID string
	Time     time.Time         // when it happened, as its writer said; UTC
	Recorded time.Time         // when the log stored it, by the server's clock; UTC
	Metadata map[string]string // of its commit

	commit *commit
}

// ID returns the event's id: the commit's id, and where the commit has several
// events, '#' and the event's number among them, from 1. It is unique within
// its stream if the commit ids are and none ends in '#' and a number. An event
// that was not read by this package does not know of others in its commit: its
// id is the commit's.
func (e Event) ID() string {
	if e.commit == nil || len(e.commit.events) == 1 {
		return e.CommitID
	}
	return e.CommitID + "#" + strconv.FormatUint(e.Version-e.commit.first+1, 10)
}

// Revision returns where the stream stood after the event's commit. It is an
// expectation for the next append and where a later read can go on.
//
// The revision of an event that was not read by this package is made of the
// event's version, position and commit id, and is for the store that it came
// from. Its Version is the event's own: whether the commit has later ones, the
// store can tell by the position.
func (e Event) Revision() Revision {
	if e.commit == nil {
		return Revision{Version: e.Version, Position: e.Position, CommitID: e.CommitID}
	}
	return e.commit.revision()
}

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

// Expectation is what an append demands of its stream: [Any], [NoStream],
// [Exists], an exact [Version], or a [Revision].
type Expectation interface {
	String() string
	expectation()
}

// Existence is an [Expectation] of whether the stream has events.
type Existence int

const (
	// Any expects nothing: the commit goes after whatever is there.
	Any Existence = iota
	// NoStream expects that the stream has no events.
	NoStream
	// Exists expects that the stream has events.
	Exists
)

func (e Existence) String() string {
	switch e {
	case Any:
		return "any version"
	case NoStream:
		return "no events"
	case Exists:
		return "at least one event"
	}
	return "Existence(" + strconv.Itoa(int(e)) + ")"
}

// Version is the [Expectation] that the stream is at exactly this version.
// Version(0) is the same as [NoStream].
type Version uint64

func (v Version) String() string { return "version " + strconv.FormatUint(uint64(v), 10) }

// String returns, for example, "version 3".
func (r Revision) String() string { return Version(r.Version).String() }

func (Existence) expectation() {}
func (Version) expectation()   {}
func (Revision) expectation()  {}
