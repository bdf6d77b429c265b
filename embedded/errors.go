package embedded

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

var (
	// ErrLocked is what a [LockedError] is: another server has the folder.
	ErrLocked = errors.New("embedded: folder is in use by another server")

	// ErrClosed is returned by Connect and Restart after Close or Stop.
	ErrClosed = errors.New("embedded: server is closed")
)

// LockedError reports that another server, of this process or of another one,
// has the folder. errors.Is(err, ErrLocked) is true for it.
type LockedError struct {
	Dir string // the folder
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("embedded: folder %s is in use by another server: "+
		"stop that server, connect to it if it listens, or use another folder", e.Dir)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// StartError reports that the server in Dir did not start. Err is the cause
// and can be examined with errors.Is and errors.As: the context's error, or
// that of the operating system, such as syscall.EADDRINUSE or fs.ErrPermission.
type StartError struct {
	Dir string // the folder
	Err error  // the cause, never nil
}

func (e *StartError) Error() string {
	return fmt.Sprintf("embedded: cannot start the server in %s: %v", e.Dir, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// DamagedError reports streams whose files are in the folder and which the
// server could not recover. The server was stopped again; the files are still
// there.
type DamagedError struct {
	Dir      string   // the folder
	Streams  []string // names of the streams that could not be recovered, sorted
	Warnings []string // what the server said while it recovered, at most a few lines
}

func (e *DamagedError) Error() string {
	var why string
	if len(e.Warnings) > 0 {
		why = " (" + strings.Join(e.Warnings, "; ") + ")"
	}
	return fmt.Sprintf("embedded: the server in %s cannot recover %s%s: "+
		"restore the folder from a backup, or, to go on without them, move their folders out of %s",
		e.Dir, strings.Join(e.Streams, ", "), why, filepath.Join(e.Dir, "jetstream"))
}
