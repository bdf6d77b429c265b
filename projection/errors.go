package projection

import (
	"errors"
	"fmt"

	"github.com/headwater-go/headwater/eventstore"
)

// The kinds of failure, for errors.Is. Each typed error below matches its kind.
var (
	// ErrStopped: the projection met an event that it cannot handle.
	ErrStopped = errors.New("projection stopped")
	// ErrParked: the event waits behind one that could not be handled.
	ErrParked = errors.New("parked")
	// ErrBehind: the projection did not come to a position in time.
	ErrBehind = errors.New("projection is behind")
	// ErrOtherLog: the read model was made from another log.
	ErrOtherLog = errors.New("read model of another log")
	// ErrRunning: the projection runs already.
	ErrRunning = errors.New("projection runs already")
	// ErrNotParked: no event of the stream waits.
	ErrNotParked = errors.New("not parked")
	// ErrNoGeneration: there is no such generation of the read model.
	ErrNoGeneration = errors.New("no such generation")
	// ErrDamaged: the file of read models is damaged, or no such file.
	ErrDamaged = errors.New("file of read models is damaged")
	// ErrLocked: another process has the file of read models open.
	ErrLocked = errors.New("file of read models is in use")
)

// Permanent is an error that a handler returns where trying again makes no sense.
type Permanent struct{ Err error }

func (e *Permanent) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *Permanent) Unwrap() error { return e.Err }

// Transient is an error that a handler returns where trying again makes sense for as
// long as it takes, since something is away that will come back. Errors that match
// [eventstore.ErrUnavailable] or [eventstore.ErrUnknownOutcome] are such ones.
type Transient struct{ Err error }

func (e *Transient) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *Transient) Unwrap() error { return e.Err }

// PanicError is a panic of a handler or codec.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// StoppedError says which event a projection stopped at, and why. Everything
// before it is handled. Mend the handler and run the projection again, or let it
// park such events, see [Options]. It matches [ErrStopped], and Err.
type StoppedError struct {
	Projection string
	Stream     eventstore.StreamID
	Version    uint64 // of the first event of the commit that could not be handled
	Position   uint64
	Attempts   int
	Err        error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("projection %s stopped at position %d, %s version %d, attempt %d: %v",
		e.Projection, e.Position, e.Stream, e.Version, e.Attempts, e.Err)
}

// Is reports whether target is [ErrStopped].
func (e *StoppedError) Is(target error) bool { return target == ErrStopped }

// Unwrap returns what the handler said.
func (e *StoppedError) Unwrap() error { return e.Err }

// ParkedError says that what was waited for is not in the read model, since an
// earlier event of the stream, or that one, could not be handled. It matches
// [ErrParked].
type ParkedError struct {
	Projection string
	Parked
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("projection %s: %s is parked since position %d, with %d commits waiting: %s",
		e.Projection, e.Stream, e.Position, e.Waiting, e.Reason)
}

// Is reports whether target is [ErrParked].
func (e *ParkedError) Is(target error) bool { return target == ErrParked }

// BehindError says that a projection did not come to a position before a context
// ended, and how far it is. It matches [ErrBehind], and Err.
type BehindError struct {
	Projection string
	Wanted     uint64 // position
	At         uint64 // position
	Err        error  // why the wait ended, and what the projection has trouble with
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("projection %s is at position %d, and not yet at %d: %v", e.Projection, e.At, e.Wanted, e.Err)
}

// Is reports whether target is [ErrBehind].
func (e *BehindError) Is(target error) bool { return target == ErrBehind }

// Unwrap returns why the wait ended.
func (e *BehindError) Unwrap() error { return e.Err }

// OtherLogError says that a read model was made from another log than the one
// that is open, also if it has the same name: the log was replaced, or the read
// model belongs to another program. Rebuild it, or open the right one. It matches
// [ErrOtherLog].
type OtherLogError struct {
	Projection string
	Log        string // name of the log that is open
	Made, Open string // identities of the log that it was made from, and of the one that is open
}

func (e *OtherLogError) Error() string {
	return fmt.Sprintf("projection %s: its read model was made from the log with the identity %s, and the log %s is %s: remove the read model to build it from this log, or open the log that it is of",
		e.Projection, e.Made, e.Log, e.Open)
}

// Is reports whether target is [ErrOtherLog].
func (e *OtherLogError) Is(target error) bool { return target == ErrOtherLog }
