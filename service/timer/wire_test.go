package timer_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// A wire leads to a server. What comes in one direction can be held back on it.
type wire struct {
	up, down flow
	conns    sync.WaitGroup
}

// A flow is what comes in one direction.
type flow struct {
	mu     sync.Mutex
	word   []byte        // what has it, and all after that, is held back; nil: nothing
	caught chan struct{} // closed when something was
	open   chan struct{} // closed when that is let go
	cut    bool          // and it is lost, with the connection
}

// hold holds back what has a word, and all that comes after it, until let go. It
// returns what is closed when something came that has it.
func (f *flow) hold(word string) (caught <-chan struct{}, letGo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.word, f.caught, f.open = []byte(word), make(chan struct{}), make(chan struct{})
	open := f.open
	return f.caught, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.word = nil
		close(open)
	}
}

// sever has what is held back be lost.
func (f *flow) sever() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
	close(f.open)
}

// pass waits while this is held back. It reports whether it is to go on.
func (f *flow) pass(b []byte) bool {
	f.mu.Lock()
	if f.word == nil || !bytes.Contains(b, f.word) {
		f.mu.Unlock()
		return true
	}
	open := f.open
	select {
	case <-f.caught:
	default:
		close(f.caught)
	}
	f.mu.Unlock()
	<-open
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.cut
}

func (f *flow) copy(to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if !f.pass(b[:n]) {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// wired starts a server and returns a connection that leads over a wire, and one that
// does not.
func wired(t *testing.T) (over, direct *nats.Conn, w *wire) {
	t.Helper()
	server := start(t, t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &wire{}
	w.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.conns.Go(func() { w.join(client, strings.TrimPrefix(server.URL(), "nats://")) })
		}
	})
	t.Cleanup(w.conns.Wait)
	t.Cleanup(func() { l.Close() })
	over, err = nats.Connect("nats://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(over.Close)
	return over, testutil.Connect(t, server), w
}

func (w *wire) join(client net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		client.Close()
		return
	}
	both := []io.Closer{client, server}
	var copies sync.WaitGroup
	for _, way := range []struct {
		f        *flow
		to, from net.Conn
	}{{&w.up, server, client}, {&w.down, client, server}} {
		copies.Go(func() {
			way.f.copy(way.to, way.from)
			for _, c := range both {
				c.Close()
			}
		})
	}
	copies.Wait()
}
