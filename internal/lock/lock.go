// Package lock keeps a second process, and a second user in this one, away from
// files.
package lock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrLocked says that somebody has the lock.
	ErrLocked = errors.New("locked")
	// ErrDamaged says that the file is not what Take made, and nobody has the
	// lock.
	ErrDamaged = errors.New("damaged")
)

// Take takes the lock that the file at path is, or returns [ErrLocked] at once.
// The file is made where there is none, and stays. It is a bbolt database
// without content: what counts is the lock that bbolt holds on it, which the
// operating system releases when the process ends.
func Take(path string) (io.Closer, error) {
	db, err := open(path)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrLocked
	case errors.As(err, new(*fs.PathError)):
		return nil, err // its text names the file
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("lock file %s: %w", path, err)
	default:
		return nil, fmt.Errorf("lock file %s is %w: it holds no data, so make sure "+
			"that nobody uses what it locks, delete the file and start again: %w", path, ErrDamaged, err)
	}
}

// open opens the database that is the lock. bbolt trusts its files: one that was
// cut short faults in the memory map, one with wrong pages panics. Neither may
// take the process down. The memory map of such a file stays, and with it the
// lock, which is why it is to be deleted.
func open(path string) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%v", r)
			_ = file.Close() // nil or open; either way there is nothing else to do
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: time.Millisecond, // one try
		OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
}
