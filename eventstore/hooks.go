package eventstore

import "time"

// Appended is what became of an append.
type Appended struct {
	Stream   StreamID
	Revision Revision // that Append returned
	Events   int
	Attempts int // times that the commit was sent
	Took     time.Duration
	Err      error
}
