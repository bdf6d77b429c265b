package projection_test

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/nats-io/nats.go"
)

// A line is how a process of a test is connected: it cuts the connections.
type line struct {
	mu       sync.Mutex
	cut      bool // there are none, until it is mended
	conns    map[net.Conn]bool
	losing   []byte            // an answer with this is lost; nil: none
	lost     chan struct{}     // closed when it was
	left     int               // bytes until the next of them
	interval func() (left int) // between them
}

var errCut = errors.New("the line is cut")

// Dial is that of a [nats.CustomDialer].
func (l *line) Dial(network, address string) (net.Conn, error) {
	inner, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		inner.Close()
		return nil, errCut
	}
	c := &lineConn{inner, l}
	l.conns[c] = true
	return c, nil
}

// sever cuts the connections, and lets none be made.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// lose loses the next of the server's answers that has some text in it.
func (l *line) lose(text string) (lost <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losing, l.lost = []byte(text), make(chan struct{})
	return l.lost
}

type lineConn struct {
	net.Conn
	line *line
}

func (c *lineConn) Write(data []byte) (int, error) {
	if c.line.passes(len(data)) {
		return c.Conn.Write(data)
	}
	// Some of it goes on.
	n, _ := c.Conn.Write(data[:len(data)/2])
	return n, errors.Join(errCut, c.Conn.Close())
}

func (c *lineConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	if err == nil && (c.line.loses(data[:n]) || !c.line.passes(n)) {
		return 0, errors.Join(errCut, c.Conn.Close())
	}
	return n, err
}

func (l *line) loses(data []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.losing == nil || !bytes.Contains(data, l.losing) {
		return false
	}
	close(l.lost)
	l.losing = nil
	return true
}

// passes reports whether so many bytes pass, or the connection is cut at random.
func (l *line) passes(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interval == nil {
		return true
	}
	if l.left -= n; l.left > 0 {
		return true
	}
	l.left = l.interval()
	return false
}

// listening starts a server that can be reached over a line.
func listening(t testing.TB) *embedded.Server {
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

// over connects over a line of its own.
func over(t testing.TB, url string) (*nats.Conn, *line) {
	t.Helper()
	l := &line{conns: make(map[net.Conn]bool)}
	nc, err := nats.Connect(url, nats.SetCustomDialer(l), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, l
}
