package eventstore

import "time"

// Appended is what became of an append, for Options.OnAppend.
type Appended struct {
	Stream   StreamID
	Revision Revision // that Append returned
	Events   int      // that Append was given
	// Attempts is how often the commit was sent: 0 where it was refused before,
	// 1 as a rule, and more where no answer came, or other writers were faster.
	Attempts int
	Took     time.Duration
	Err      error // that Append returned
}
