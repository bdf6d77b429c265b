package embedded_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
)

func TestStartFails(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, path string) {
		if err := os.WriteFile(path, []byte("not a folder"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, dir string) (string, *embedded.Options)
		is      error  // in the error's chain, if any
		text    string // in the error's text
	}{
		{"folder is a file", func(t *testing.T, dir string) (string, *embedded.Options) {
			write(t, filepath.Join(dir, "file"))
			return filepath.Join(dir, "file"), nil
		}, syscall.ENOTDIR, "not a directory"},
		{"store is a file", func(t *testing.T, dir string) (string, *embedded.Options) {
			write(t, filepath.Join(dir, "jetstream"))
			return dir, nil
		}, nil, "storage directory is not a directory"},
		{"lock is a folder", func(t *testing.T, dir string) (string, *embedded.Options) {
			if err := os.Mkdir(filepath.Join(dir, "headwater.lock"), 0o700); err != nil {
				t.Fatal(err)
			}
			return dir, nil
		}, syscall.EISDIR, "headwater.lock"},
		{"port is taken", func(t *testing.T, dir string) (string, *embedded.Options) {
			return dir, &embedded.Options{Listen: busyPort(t)}
		}, syscall.EADDRINUSE, "address already in use"},
		{"address is no address", listen("4222"), nil, `"4222" is not host:port`},
		{"port is no number", listen("localhost:nats"), nil, "number from 0 to 65535"},
		{"port is too large", listen("localhost:65536"), nil, "number from 0 to 65535"},
		{"address is another machine's", listen("192.0.2.1:0"), syscall.EADDRNOTAVAIL, "192.0.2.1"},
		{"limit is negative", func(t *testing.T, dir string) (string, *embedded.Options) {
			return dir, &embedded.Options{MaxStore: -1}
		}, nil, "MaxStore"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			dir, opts := tt.prepare(t, home)
			begin := time.Now()
			s, err := embedded.Start(t.Context(), dir, opts)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %s: the failure was waited out", took)
			}
			se := new(embedded.StartError)
			if s != nil || !errors.As(err, &se) || se.Dir != dir {
				t.Errorf("server %v, error %T %+v", s, err, err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the text does not have %q and the folder: %v", tt.text, err)
			}
			requireUnlocked(t, dir)
		})
	}
}

func listen(addr string) func(*testing.T, string) (string, *embedded.Options) {
	return func(_ *testing.T, dir string) (string, *embedded.Options) {
		return dir, &embedded.Options{Listen: addr}
	}
}

// requireUnlocked fails if a server still has the folder.
func requireUnlocked(t *testing.T, dir string) {
	t.Helper()
	s, err := embedded.Start(t.Context(), dir, nil)
	if err == nil {
		err = s.Close()
	}
	if errors.Is(err, embedded.ErrLocked) {
		t.Error(err)
	}
}

func TestStartWithEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := embedded.Start(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	open(t, dir, nil)
}

// A recovery cannot be broken off. Here it is held up in its first log line.
func TestContextEndsDuringRecovery(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held := make(chan struct{})
	opts := &embedded.Options{Logger: slog.New(gate{slog.DiscardHandler, held})}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := embedded.Start(ctx, dir, opts)
	if se := new(embedded.StartError); !errors.As(err, &se) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start returns %v", err)
	}
	if _, err := embedded.Start(t.Context(), dir, nil); !errors.Is(err, embedded.ErrLocked) {
		t.Errorf("a second Start during the first one's recovery returns %v", err)
	}
	close(held)
	eventually(t, func() error {
		s, err := embedded.Start(t.Context(), dir, nil)
		if err == nil {
			err = s.Close()
		}
		return err
	})
}

// gate is a log handler that lets nothing pass before it is opened.
type gate struct {
	slog.Handler
	opened <-chan struct{}
}

func (gate) Enabled(context.Context, slog.Level) bool { return true }

func (g gate) Handle(context.Context, slog.Record) error {
	<-g.opened
	return nil
}

func TestDamagedStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	js := connect(t, s)
	createLog(t, js, 1)
	publish(t, js, 1, 5)
	s.Close()

	meta := filepath.Join(dir, "jetstream", "$G", "streams", "LOG", "meta.inf")
	good, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(good)
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(meta, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = embedded.Start(t.Context(), dir, nil)
	damaged := new(embedded.DamagedError)
	if !errors.As(err, &damaged) || !slices.Equal(damaged.Streams, []string{"LOG"}) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{dir, "LOG", "checksums do not match"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the text does not have %q: %v", want, err)
		}
	}

	if err := os.WriteFile(meta, good, 0o600); err != nil {
		t.Fatal(err)
	}
	requireMessages(t, connect(t, open(t, dir, nil)), 5)
}

// A crash while a stream is created or deleted leaves folders that hold nothing
// anybody was promised.
func TestUnfinishedStreamIsNoDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	streams := filepath.Join(dir, "jetstream", "$G", "streams")
	for path, size := range map[string]int{
		"EMPTY/msgs/1.blk":    0,
		"NEW/obs/any":         1,
		".DELETED/msgs/1.blk": 1,
	} {
		path = filepath.Join(streams, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	createLog(t, connect(t, open(t, dir, nil)), 1)
}
