package eventstore

import "strconv"

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

func (Existence) expectation() {}
func (Version) expectation()   {}
