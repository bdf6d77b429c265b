package embedded_test

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
)

func TestRestartKeepsMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	js := connect(t, s)
	createLog(t, js, 1)
	publish(t, js, 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	js = connect(t, open(t, dir, nil))
	requireMessages(t, js, 10)
	publish(t, js, 11, 12)
}

func TestOptionsReachTheServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opts *embedded.Options
		sync bool
		max  int64
	}{
		{"nil", nil, true, 1 << 60},
		{"zero", &embedded.Options{}, true, 1 << 60},
		{"relaxed", &embedded.Options{Relaxed: true, MaxStore: 1 << 20}, false, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := open(t, t.TempDir(), tt.opts).StoreConfig()
			if got.SyncAlways != tt.sync || got.MaxStore != tt.max {
				t.Errorf("sync always %t, max store %d; want %t, %d",
					got.SyncAlways, got.MaxStore, tt.sync, tt.max)
			}
		})
	}
}

func TestMaxStoreRefusesWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, &embedded.Options{MaxStore: 4 << 10})
	js := connect(t, s)
	createLog(t, js, 1)
	stored, err := uint64(0), error(nil)
	for ; err == nil && stored < 10; stored++ {
		_, err = js.Publish(t.Context(), "log.big", make([]byte, 1<<10))
	}
	if api := new(jetstream.APIError); !errors.As(err, &api) || api.ErrorCode != 10023 {
		t.Fatalf("after %d messages: %v", stored, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	js = connect(t, open(t, dir, nil))
	if _, err := js.Publish(t.Context(), "log.big", nil); err != nil {
		t.Errorf("with a higher limit: %v", err)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ listen, prefix string }{
		{"", ""},
		{"127.0.0.1:0", "nats://127.0.0.1:"},
		{"localhost:0", "nats://127.0.0.1:"},
		{":0", "nats://127.0.0.1:"},
	} {
		t.Run("listen="+tt.listen, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir(), &embedded.Options{Listen: tt.listen})
			if tt.listen == "" {
				if s.URL() != "" {
					t.Errorf("URL of a server that does not listen: %q", s.URL())
				}
				return
			}
			if !strings.HasPrefix(s.URL(), tt.prefix) || strings.HasSuffix(s.URL(), ":0") {
				t.Errorf("URL is %q", s.URL())
			}
			nc, err := nats.Connect(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
		})
	}
}

func TestListenOnTheSamePortAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, &embedded.Options{Listen: "127.0.0.1:0"})
	url := s.URL()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(url, "nats://")
	if got := open(t, dir, &embedded.Options{Listen: addr}).URL(); got != url {
		t.Errorf("URL was %s and is %s", url, got)
	}
}

func TestCloseClosesConnections(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	var conns []*nats.Conn
	for range 3 {
		nc, err := s.Connect(nats.Name("one of three"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
	}
	conns[1].Close() // by its user, which is fine
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			for i, nc := range conns {
				if !nc.IsClosed() {
					t.Errorf("connection %d is %s after Close", i, nc.Status())
				}
			}
		})
	}
	wg.Wait()
	if nc, err := s.Connect(); nc != nil || !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("Connect after Close: %v, %v", nc, err)
	}
}

func TestConnectDuringClose(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				nc, err := s.Connect()
				if errors.Is(err, embedded.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				nc.Close()
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out strings.Builder // a handler writes under its own lock
	s := open(t, t.TempDir(), &embedded.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=INFO", `msg="Server is ready"`, `msg="Server Exiting.."`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log has no %s:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "level=DEBUG") {
		t.Errorf("debug lines that nobody asked for:\n%s", out.String())
	}
}

// busyPort returns an address that is taken until the test ends.
func busyPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
