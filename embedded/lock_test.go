package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
)

func requireLocked(t *testing.T, dir string) {
	t.Helper()
	begin := time.Now()
	_, err := embedded.Start(t.Context(), dir, nil)
	took := time.Since(begin)
	locked := new(embedded.LockedError)
	if !errors.As(err, &locked) || !errors.Is(err, embedded.ErrLocked) || locked.Dir != dir {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), dir) {
		t.Errorf("the text does not name the folder: %v", err)
	}
	if took > time.Second { // milliseconds, on a machine that has time
		t.Errorf("took %s", took)
	}
}

func TestOneServerPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	requireLocked(t, dir)
	requireLocked(t, dir) // the refused one has not unlocked it

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	requireLocked(t, link)

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
}

func TestOneOfManyStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	winners := make(chan *embedded.Server, 8)
	for range cap(winners) {
		wg.Go(func() {
			s, err := embedded.Start(t.Context(), dir, nil)
			switch {
			case err == nil:
				winners <- s
			case !errors.Is(err, embedded.ErrLocked):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(winners)
	if len(winners) != 1 {
		t.Errorf("%d servers have the folder", len(winners))
	}
	for s := range winners {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedLockFile(t *testing.T) {
	t.Parallel()
	page := os.Getpagesize()
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
		opens  bool
	}{
		{"empty", func([]byte) []byte { return nil }, true},
		{"one page", func(b []byte) []byte { return b[:page] }, false},
		{"two pages", func(b []byte) []byte { return b[:2*page] }, false},
		{"three pages and zeros", func(b []byte) []byte { clear(b[2*page:]); return b }, false},
		{"zeros", func(b []byte) []byte { clear(b); return b }, false},
		{"text", func([]byte) []byte { return []byte("1234\n") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := open(t, dir, nil).Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "headwater.lock")
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.damage(good), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := embedded.Start(t.Context(), dir, nil)
			if tt.opens {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "delete") {
				t.Fatalf("got %v", err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			open(t, dir, nil)
		})
	}
}
