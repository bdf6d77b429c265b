package testutil_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/testutil"
)

// A disk is as small as it was asked for, and is gone after the test, also while
// other tests start processes.
func TestDisk(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 2 {
		starting.Go(func() {
			for ctx.Err() == nil {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		var dir string
		t.Run("", func(t *testing.T) {
			dir = testutil.Disk(t, "size=1m")
			err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 2<<20), 0o600)
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("two megabytes on a disk of one: %v", err)
			}
		})
		if _, err := os.Stat(dir); dir != "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the test: %v", err)
		}
	}
	cancel()
	starting.Wait()
}
