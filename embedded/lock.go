package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockFile is a bbolt database without content: what counts is the lock that
// bbolt holds on it, which the operating system releases when the process
// ends. Its name is part of the folder's layout.
const lockFile = "headwater.lock"

// lockDir locks dir or returns a LockedError at once. The folder must exist.
func lockDir(dir string) (*bbolt.DB, error) {
	path := filepath.Join(dir, lockFile)
	db, err := openLock(path)
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &LockedError{Dir: dir}
	case errors.As(err, new(*fs.PathError)):
		return nil, err // its text names the file
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("lock file %s: %w", path, err)
	default:
		return nil, fmt.Errorf("lock file %s is damaged: it holds no data, so make sure "+
			"that no server uses the folder, delete the file and start again: %w", path, err)
	}
}

// openLock opens the database that is the lock. bbolt trusts its files: one
// that was cut short faults in the memory map, one with wrong pages panics.
// Neither may take the process down, nor leave the file open and so locked.
func openLock(path string) (db *bbolt.DB, err error) {
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
