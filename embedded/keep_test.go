package embedded_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/headwater-go/headwater/embedded"
)

// streamDir is where the server has the stream of these tests.
func streamDir(dir string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", "LOG")
}

// closedLog returns a folder with five messages and no server.
func closedLog(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("files are not kept here")
	}
	dir := t.TempDir()
	s := open(t, dir, nil)
	js := connect(t, s)
	createLog(t, js, 1)
	publish(t, js, 1, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hideConsumers puts a file in the way of the folder of a stream's consumers, of
// which there must be none, so that the server cannot open the stream.
func hideConsumers(t *testing.T, dir string) (show func()) {
	t.Helper()
	consumers := filepath.Join(streamDir(dir), "obs")
	if err := os.Remove(consumers); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(consumers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(consumers); err != nil {
			t.Fatal(err)
		}
	}
}

// The server deletes a stream that it cannot open.
func TestStreamThatCannotBeOpenedIsKept(t *testing.T) {
	t.Parallel()
	dir := closedLog(t)
	show := hideConsumers(t, dir)
	for range 2 {
		_, err := embedded.Start(t.Context(), dir, nil)
		damaged := new(embedded.DamagedError)
		if !errors.As(err, &damaged) || !slices.Equal(damaged.Streams, []string{"LOG"}) {
			t.Fatalf("got %v", err)
		}
	}
	show()
	requireMessages(t, connect(t, open(t, dir, nil)), 5)
}

// The process ended after the server had deleted a stream.
func TestKeptStreamIsPutBack(t *testing.T) {
	t.Parallel()
	dir := closedLog(t)
	kept := filepath.Join(dir, "headwater.keep")
	if err := os.Mkdir(kept, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(streamDir(dir), filepath.Join(kept, "LOG")); err != nil {
		t.Fatal(err)
	}
	js := connect(t, open(t, dir, nil))
	requireMessages(t, js, 5)
	publish(t, js, 6, 8)
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the kept files are left: %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"write data/1.blk: no space left on device":                true,
		"Error creating msg block file: open 2.blk: no space left": true,
		"write data/1.blk: disk quota exceeded":                    true,
		"sync data/1.blk: no space left on device":                 false,
		"write data/1.blk: input/output error":                     false,
		"open data/2.blk: too many open files":                     false,
	} {
		if got := embedded.NoSpace(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
