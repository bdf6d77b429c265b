package testutil

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// Disk returns a folder on a file system of its own in memory, with mount
// options of tmpfs such as "size=16m", so that a test can fill it. It is there
// until the test ends. Where the process has no right to mount one the test is
// skipped.
func Disk(t testing.TB, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("no right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// unmount waits while the file system is busy: a child of this process has all
// its files open between fork and exec, those on the file system among them.
func unmount(dir string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); ; <-tick.C {
		err := syscall.Unmount(dir, 0)
		if !errors.Is(err, syscall.EBUSY) || time.Since(start) > patience {
			return err
		}
	}
}
