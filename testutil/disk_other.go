//go:build !linux

package testutil

import "testing"

// Disk returns a folder on a file system of its own in memory, with mount
// options of tmpfs such as "size=16m", so that a test can fill it. It is there
// until the test ends. Where the process has no right to mount one the test is
// skipped.
func Disk(t testing.TB, options string) (dir string) {
	t.Helper()
	t.Skip("small file systems are made on Linux only")
	return ""
}
