package snapshot_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/snapshot"
	"github.com/headwater-go/headwater/snapshot/backendtest"
)

func TestFileIsABackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) snapshot.Backend {
		b, err := snapshot.OpenBackend(filepath.Join(t.TempDir(), "snapshots"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

func open(t *testing.T, path string) *snapshot.Store {
	t.Helper()
	s, err := snapshot.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// closed closes a store without complaint.
func closed(t *testing.T, s *snapshot.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFileOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshots")
	s := open(t, path)
	save(s, at("1", 1))
	closed(t, s)
	s = open(t, path)
	want(t, s, "1", 1)
	save(s, at("1", 2))
	closed(t, s)
	want(t, open(t, path), "1", 2)
}

func TestOneProcessPerFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshots")
	s := open(t, path)
	for range 2 { // the refused one has not unlocked it
		start := time.Now()
		_, err := snapshot.Open(path, nil)
		var locked *snapshot.LockedError
		if !errors.As(err, &locked) || !errors.Is(err, snapshot.ErrLocked) || locked.Path != path {
			t.Errorf("opened twice: %v", err)
		}
		if took := time.Since(start); took > time.Second { // milliseconds, on a machine that has time
			t.Errorf("the second one waited %v", took)
		}
	}
	closed(t, s)
	open(t, path)
}

func TestOpenWhereNoneCanBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "no", "folder"), ""} {
		if s, err := snapshot.Open(path, nil); err == nil {
			t.Errorf("%q is opened", path)
			s.Close()
		}
	}
}

// A file that is damaged while it is open is replaced, and nothing fails
// meanwhile.
func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"cut":   func(path string) error { return os.Truncate(path, 4096) },
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"zeros": func(path string) error { return overwrite(path, 0) },
		"ones":  func(path string) error { return overwrite(path, 0xff) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "snapshots")
			s := open(t, path)
			for i := range 500 {
				save(s, at(fmt.Sprint(i), 1))
			}
			flush(t, s)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			for i := range 500 {
				if snap, ok := s.Load(t.Context(), stream(fmt.Sprint(i)), log, schema); ok && string(snap.State) != "state 1" {
					t.Fatalf("loaded %+v", snap)
				}
			}
			for i := range 500 {
				save(s, at(fmt.Sprint(i), 2))
			}
			flush(t, s)
			for i := range 500 {
				want(t, s, fmt.Sprint(i), 2)
			}
			if st := s.Stats(); st.SetAside != 1 {
				t.Errorf("counted: %+v", st)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
			closed(t, s)
			want(t, open(t, path), "499", 2)
		})
	}
}

// loadersEnv makes this process one whose file is damaged while many load. bbolt
// may leave locks behind, and goroutines that wait for them.
const loadersEnv = "HEADWATER_TEST_LOADERS"

// Nobody waits for ever when the file is damaged while many load from it.
func TestDamageUnderLoad(t *testing.T) {
	if os.Getenv(loadersEnv) == "" {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDamageUnderLoad$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), loadersEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for round := range 20 {
		path := filepath.Join(t.TempDir(), "snapshots")
		s := open(t, path)
		for i := range 100 {
			save(s, at(fmt.Sprint(i), 1))
		}
		flush(t, s)
		var loading sync.WaitGroup
		begun := make(chan struct{}, 16)
		for range 16 {
			loading.Go(func() {
				for i := range 3000 {
					if snap, ok := s.Load(t.Context(), stream(fmt.Sprint(i%100)), log, schema); ok && string(snap.State) != "state 1" {
						t.Errorf("loaded %+v", snap)
					}
					if i == 100 {
						begun <- struct{}{}
					}
				}
			})
		}
		for range 16 {
			<-begun
		}
		if err := []func() error{func() error { return os.Truncate(path, 0) }, func() error { return overwrite(path, 0) }}[round%2](); err != nil {
			t.Fatal(err)
		}
		save(s, at("new", 1))
		flush(t, s)
		loading.Wait()
		save(s, at("new", 2))
		flush(t, s)
		want(t, s, "new", 2)
		closed(t, s)
	}
}

// overwrite writes over all of a file.
func overwrite(path string, with byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Repeat([]byte{with}, int(info.Size())))
	return errors.Join(err, f.Close())
}

// A file gets smaller, while it is used.
func TestCompact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshots")
	s := open(t, path)
	big := bytes.Repeat([]byte("state"), 2000)
	for i := range 500 {
		s.Save(at(fmt.Sprint(i), 1), func() ([]byte, error) { return big, nil })
	}
	save(s, at("kept", 3))
	flush(t, s)
	removed, err := s.Prune(t.Context(), func(i snapshot.Info) bool { return i.Stream.ID != "kept" })
	if removed != 500 || err != nil {
		t.Fatalf("%d pruned, %v", removed, err)
	}
	before := size(t, path)
	var using sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		using.Go(func() {
			for {
				want(t, s, "kept", 3)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 3 {
		if err := s.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	using.Wait()
	if after := size(t, path); after*10 > before {
		t.Errorf("of %d bytes %d are left", before, after)
	}
	save(s, at("new", 1))
	flush(t, s)
	want(t, s, "new", 1)
	if _, err := snapshot.Open(path, nil); !errors.Is(err, snapshot.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	closed(t, s)
	if s = open(t, path); s.Stats().SetAside > 0 {
		t.Error("it is damaged")
	}
	want(t, s, "kept", 3)
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) != 1 {
		t.Errorf("beside it are %q, %v", left, err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Whoever still uses a file that was closed is told so, and it is no damage.
func TestUseAfterClose(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "snapshots"))
	save(s, at("1", 1))
	closed(t, s)
	want(t, s, "1", 0)
	if _, err := s.Prune(t.Context(), func(snapshot.Info) bool { return true }); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("pruned: %v", err)
	}
	for _, err := range s.List(t.Context()) {
		if !errors.Is(err, snapshot.ErrClosed) {
			t.Errorf("listed: %v", err)
		}
	}
	if err := s.Compact(t.Context()); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("compacted: %v", err)
	}
	if st := s.Stats(); st.Unreadable+st.Damaged > 0 {
		t.Errorf("counted: %+v", st)
	}
}

// A lock file that is damaged locks nobody out.
func TestDamagedLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "snapshots")
	s := open(t, path)
	save(s, at("1", 1))
	closed(t, s)
	for _, text := range []string{"x", strings.Repeat("\x00", 1<<14)} {
		if err := os.WriteFile(path+".lock", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, path)
		want(t, s, "1", 1)
		if _, err := snapshot.Open(path, nil); !errors.Is(err, snapshot.ErrLocked) {
			t.Errorf("opened twice: %v", err)
		}
		closed(t, s)
	}
}
