package snapshot

import (
	"errors"
	"fmt"
)

var (
	// ErrLocked is what a [LockedError] is: another process has the file.
	ErrLocked = errors.New("snapshot file is in use")
	// ErrClosed is returned by what comes after Close.
	ErrClosed = errors.New("snapshot store is closed")
)

// LockedError says that another process, or another part of this one, has the
// file open. It matches [ErrLocked].
type LockedError struct {
	Path string
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("snapshots: file %s is in use by another process: give each process a file of its own", e.Path)
}

// Is reports whether target is [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
