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
