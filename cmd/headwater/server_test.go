package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// A site is a log and the flags by which the program finds it.
type site struct {
	log   *eventstore.Store
	flags []string
}

// startServer starts a server that ends with the test.
func startServer(t *testing.T) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// onServer returns an empty log on a server, which is verified when the test
// ends.
func onServer(t *testing.T, s *embedded.Server, log string) site {
	t.Helper()
	store, err := eventstore.Open(t.Context(), testutil.Connect(t, s), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := store.Verify(context.Background(), nil)
		if err != nil || report.Damaged > 0 {
			t.Errorf("log %s: %+v, %v", log, report, err)
		}
	})
	return site{store, []string{"-server", s.URL(), "-log", log}}
}

// with returns a command line for the log.
func (s site) with(args ...string) []string { return append(args, s.flags...) }

// inFolder fills a log in a folder, whose server is stopped then, and returns
// the flags.
func inFolder(t *testing.T, fill func(*eventstore.Store)) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	s, err := embedded.Start(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), testutil.Connect(t, s), "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	fill(store)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// running is the program while it runs.
type running struct {
	*testing.T
	lines  *bufio.Scanner
	stop   context.CancelFunc // is Ctrl-C
	status chan int
}

// begin runs the program until it ends or is stopped, at the latest with the
// test.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := &running{t, bufio.NewScanner(r), stop, make(chan int, 1)}
	var complaints strings.Builder
	go func() {
		status := headwater.Run(ctx, strings.NewReader(""), w, &complaints, args...)
		_ = w.Close() // never fails
		p.status <- status
	}()
	t.Cleanup(func() {
		stop()
		_ = r.Close() // never fails
	})
	return p
}

// line returns the next line that is printed.
func (p *running) line() string {
	p.Helper()
	if !p.lines.Scan() {
		p.Fatalf("the output ended, exit status %d", <-p.status)
	}
	return p.lines.Text()
}

// end presses Ctrl-C and returns the exit status.
func (p *running) end() int {
	p.Helper()
	p.stop()
	for p.lines.Scan() {
		p.Errorf("at the end it printed %q", p.lines.Text())
	}
	select {
	case status := <-p.status:
		return status
	case <-time.After(time.Minute):
		p.Fatal("it does not end")
		return -1
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	p := begin(t, "server", "-data", dir, "-listen", "127.0.0.1:0", "-json")
	var said struct{ URL, Data string }
	if err := json.Unmarshal([]byte(p.line()), &said); err != nil || said.Data != dir {
		t.Fatalf("%+v, %v", said, err)
	}
	if got := succeed(t, "logs", "-json", "-server", said.URL); got != "" {
		t.Errorf("a new server has the logs %s", got)
	}
	requireContains(t, run(t, "logs", "-data", dir).errors, "is in use by another server")
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after Ctrl-C", status)
	}
	p = begin(t, "server", "-data", dir, "-listen", "localhost:0")
	if url := p.line(); !strings.HasPrefix(url, "nats://") {
		t.Errorf("it printed %q", url)
	}
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after Ctrl-C", status)
	}
}
