package lock_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/internal/lock"
)

func TestTake(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for range 3 {
		l, err := lock.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a refusal unlocks nothing
			if _, err := lock.Take(path); !errors.Is(err, lock.ErrLocked) {
				t.Errorf("taken twice: %v", err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lock.Take(filepath.Join(path, "below")); err == nil {
		t.Error("there is a lock below a file")
	}
}

// A damaged lock file is an error that says what to do. When that is done there
// is a new one.
func TestDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	l, err := lock.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{good[:len(good)/2], bytes.Repeat([]byte{0xff}, len(good)), []byte("x")} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := lock.Take(path); err == nil || errors.Is(err, lock.ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d bytes: %v", len(damaged), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		l, err := lock.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
