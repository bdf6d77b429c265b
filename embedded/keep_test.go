package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
)

// streamDir is where the server has the stream of these tests.
func streamDir(dir string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", "LOG")
}

func needKeep(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("files are not kept here")
	}
}

// closedLog returns a folder with five messages and no server.
func closedLog(t *testing.T) string {
	t.Helper()
	needKeep(t)
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

// Streams are opened anew again and again under load. What was acknowledged is
// there, at its sequence, and no sequence is missing.
func TestReopenUnderLoad(t *testing.T) {
	t.Parallel()
	needKeep(t)
	s := open(t, t.TempDir(), &embedded.Options{Relaxed: true})
	js := connect(t, s)
	createLog(t, js, 1)
	var (
		mu      sync.Mutex
		acked   = make(map[uint64]string)
		stop    = make(chan struct{})
		running sync.WaitGroup
	)
	for w := range 4 {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				text := fmt.Sprintf("%d-%d", w, n)
				ack, err := js.Publish(ctx, "log.numbers", []byte(text), jetstream.WithRetryAttempts(0))
				cancel()
				if err != nil {
					continue // between closed and open
				}
				mu.Lock()
				if other, ok := acked[ack.Sequence]; ok {
					t.Errorf("sequence %d is %s and %s", ack.Sequence, other, text)
				}
				acked[ack.Sequence] = text
				mu.Unlock()
			}
		})
	}
	for i := range 20 {
		had := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
		want := had() + 20
		eventually(t, func() error {
			if n := had(); n < want {
				return fmt.Errorf("%d of %d messages", n, want)
			}
			return nil
		})
		var failed []string
		if i%2 == 0 {
			failed = []string{"LOG"}
		}
		if err := s.Reopen(t.Context(), failed...); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	running.Wait()
	log, err := js.Stream(t.Context(), "LOG")
	if err != nil {
		t.Fatal(err)
	}
	if st := log.CachedInfo().State; st.FirstSeq != 1 || st.Msgs != st.LastSeq {
		t.Errorf("the stream has %+v", st)
	}
	for seq, text := range acked {
		if msg, err := log.GetMsg(t.Context(), seq); err != nil || string(msg.Data) != text {
			t.Fatalf("message %d, acknowledged as %s: %+v, %v", seq, text, msg, err)
		}
	}
}

// What a start that was interrupted left behind is not mixed into a backup that
// is restored in its place.
func TestRestoreOverKeptStream(t *testing.T) {
	t.Parallel()
	dir := closedLog(t)
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, nil)
	publish(t, connect(t, s), 6, 9)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, "headwater.keep")
	if err := os.MkdirAll(kept, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(streamDir(dir), filepath.Join(kept, "LOG")); err != nil {
		t.Fatal(err)
	}
	// One more file than the backup has.
	if err := os.WriteFile(filepath.Join(kept, "LOG", "msgs", "9.blk"), []byte("more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "jetstream"), os.DirFS(filepath.Join(backup, "jetstream"))); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, nil)
	if _, err := os.Stat(filepath.Join(streamDir(dir), "msgs", "9.blk")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was kept is in the restored stream: %v", err)
	}
	requireMessages(t, connect(t, s), 5)
}
