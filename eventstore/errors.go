package eventstore

import (
	"errors"
	"fmt"
)

// The kinds of failure, for errors.Is. Each typed error below matches its kind
// and carries the particulars, for errors.As.
var (
	// ErrConflict: the stream is not where the append expected it to be.
	ErrConflict = errors.New("conflict")
	// ErrUnknownOutcome: no answer came, so the commit may or may not be stored.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrCommitIDReused: the commit id stands in the stream with other events.
	ErrCommitIDReused = errors.New("commit id reused")
	// ErrInvalid: the request cannot be stored as it is; nothing was sent.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: the commit is over a limit of the server; nothing was sent.
	ErrTooLarge = errors.New("too large")
	// ErrCorrupt: the log does not hold what a writer put there.
	ErrCorrupt = errors.New("corrupt log")
	// ErrUnsafeLog: the log's settings can lose or change history.
	ErrUnsafeLog = errors.New("unsafe log settings")
	// ErrUnavailable: the server did not answer a read in time.
	ErrUnavailable = errors.New("log unavailable")
	// ErrMissed: a live feed may have missed commits.
	ErrMissed = errors.New("commits missed")
	// ErrDenied: the server does not permit this to the connection's user.
	ErrDenied = errors.New("not permitted")
	// ErrUnknownType: a codec does not know the type of an event.
	ErrUnknownType = errors.New("unknown event type")
)

// ConflictError says that a commit was not stored, because another writer was
// there first or the expectation was wrong. Read the stream again and decide
// again. It matches [ErrConflict].
type ConflictError struct {
	Stream   StreamID
	Expected Expectation
	Actual   uint64 // version of the stream; 0: it has no events
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("stream %s: conflict: expected %s, but the stream is at version %d; read it again and decide again",
		e.Stream, e.Expected, e.Actual)
}

// Is reports whether target is [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// UnknownOutcomeError says that a commit was sent and no answer came: it may
// be stored already, may be stored later, or never. Appending the same events
// again with the same CommitID and Expected is safe at any later time: it
// stores the commit if it is not there and finds it if it is. It matches
// [ErrUnknownOutcome] and whatever ended the wait, for example
// [context.DeadlineExceeded].
type UnknownOutcomeError struct {
	Stream   StreamID
	CommitID string
	Expected Revision // what the commit was guarded by
	Cause    error    // why the wait ended
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("stream %s: no answer for commit %q after version %d, so it may or may not be stored; append it again with the same id and expectation: %v",
		e.Stream, e.CommitID, e.Expected.Version, e.Cause)
}

// Is reports whether target is [ErrUnknownOutcome].
func (e *UnknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// Unwrap returns what ended the wait.
func (e *UnknownOutcomeError) Unwrap() error { return e.Cause }

// CommitIDReusedError says that the stream holds a commit of this id with
// other events than the ones given; nothing was stored. Stored is the revision
// of the stream after that earlier commit. It matches [ErrCommitIDReused].
type CommitIDReusedError struct {
	Stream   StreamID
	CommitID string
	Stored   Revision
}

func (e *CommitIDReusedError) Error() string {
	return fmt.Sprintf("stream %s: commit id %q already stands at version %d (position %d) with other events; use a new id for a new commit",
		e.Stream, e.CommitID, e.Stored.Version, e.Stored.Position)
}

// Is reports whether target is [ErrCommitIDReused].
func (e *CommitIDReusedError) Is(target error) bool { return target == ErrCommitIDReused }

// InvalidError says what about a request cannot be stored. Nothing was sent.
// It matches [ErrInvalid].
type InvalidError struct {
	What   string // which part: "stream id", "event type", "metadata key", …
	Value  string // the offending value, where there is one
	Reason string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.What, e.Reason)
	}
	return fmt.Sprintf("%s %s: %s", e.What, clip(e.Value), e.Reason)
}

// Is reports whether target is [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// TooLargeError says that a commit is over a limit of the server. Nothing was
// sent. Write it as several commits, or keep large data elsewhere and its
// address in the event. It matches [ErrTooLarge].
type TooLargeError struct {
	Stream StreamID
	What   string // "message" or "headers"
	Size   int64  // in bytes
	Limit  int64  // in bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("stream %s: the commit's %s would take %d bytes and the limit is %d; split the commit or keep large data elsewhere",
		e.Stream, e.What, e.Size, e.Limit)
}

// Is reports whether target is [ErrTooLarge].
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// CorruptionError says that the log does not hold, at some position, what a
// writer put there: a commit is missing, altered, out of order, or a message
// was written by something else. It matches [ErrCorrupt]. [Store.Verify] lists
// all the damage of a log.
type CorruptionError struct {
	Log      string
	Stream   StreamID // zero where the damage belongs to no known stream
	Position uint64   // where the damage shows
	Reason   string
}

func (e *CorruptionError) Error() string {
	where := fmt.Sprintf("log %s, position %d", e.Log, e.Position)
	if e.Stream != (StreamID{}) {
		where += ", stream " + e.Stream.String()
	}
	return where + ": damaged: " + e.Reason
}

// Is reports whether target is [ErrCorrupt].
func (e *CorruptionError) Is(target error) bool { return target == ErrCorrupt }

// UnsafeLogError says which settings of an existing JetStream stream can lose
// or change history, so that it was not opened. It matches [ErrUnsafeLog].
type UnsafeLogError struct {
	Log      string
	Problems []string
}

func (e *UnsafeLogError) Error() string {
	return fmt.Sprintf("log %s: its JetStream settings can lose or change history, so it is not opened; change them, or use another log: %q", e.Log, e.Problems)
}

// Is reports whether target is [ErrUnsafeLog].
func (e *UnsafeLogError) Is(target error) bool { return target == ErrUnsafeLog }

// DeniedError says that the server does not permit to the connection's user
// what an operation needs. Reason names the subject and whether it was to
// publish or to subscribe: give the user that permission. It matches
// [ErrDenied], and [nats.ErrPermissionViolation].
//
// [nats.ErrPermissionViolation]: https://pkg.go.dev/github.com/nats-io/nats.go#pkg-variables
type DeniedError struct {
	Reason error
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("the server does not permit it to this connection's user: %v", e.Reason)
}

// Is reports whether target is [ErrDenied].
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// Unwrap returns the reason.
func (e *DeniedError) Unwrap() error { return e.Reason }

// MissedError says that a live feed may have missed commits after a position, and
// so ended. Read what the log has after it, with [Store.Log] or from a read model,
// and begin another feed. It matches [ErrMissed], and the cause.
type MissedError struct {
	Log string
	// After is where the feed stood: the position of the last commit that it
	// yielded, or what CatchUp returned where there was none; 0 without either.
	After uint64
	Cause error // what raised the doubt
}

func (e *MissedError) Error() string {
	return fmt.Sprintf("log %s: the live feed may have missed commits after position %d; read those from the log and begin again: %v", e.Log, e.After, e.Cause)
}

// Is reports whether target is [ErrMissed].
func (e *MissedError) Is(target error) bool { return target == ErrMissed }

// Unwrap returns what raised the doubt.
func (e *MissedError) Unwrap() error { return e.Cause }

// clip quotes a value for an error, without letting a hostile one fill the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
