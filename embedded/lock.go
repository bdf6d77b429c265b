package embedded

import (
	"errors"
	"io"
	"path/filepath"

	"github.com/headwater-go/headwater/internal/lock"
)

// lockFile is part of the folder's layout.
const lockFile = "headwater.lock"

// lockDir locks dir or returns a LockedError at once. The folder must exist.
func lockDir(dir string) (io.Closer, error) {
	l, err := lock.Take(filepath.Join(dir, lockFile))
	if errors.Is(err, lock.ErrLocked) {
		return nil, &LockedError{Dir: dir}
	}
	return l, err
}
