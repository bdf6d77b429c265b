package bench

import (
	"bytes"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// distance is how far away the server is: for how long what is sent, either way,
// is under way. It can be changed at any time.
type distance struct{ atomic.Int64 }

// connect returns a connection to a server over that distance.
func (d *distance) connect(tb testing.TB, url string) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(url, nats.SetCustomDialer(d))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// trips returns how many round trips, one after the other, a load takes: by how
// much longer it takes when the server is far away.
func (d *distance) trips(load func()) float64 {
	away, times := 5*time.Millisecond, 8
	if testing.Short() {
		away, times = 2*time.Millisecond, 1
	}
	load()
	near := fastest(times, load)
	away = max(away, near) // so that it stands out
	d.Store(int64(away))
	defer d.Store(0)
	return math.Round(max(float64(fastest(times, load)-near)/float64(2*away), 0))
}

// fastest returns the shortest of so many loads: whatever else runs only adds.
func fastest(times int, load func()) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range times {
		start := time.Now()
		load()
		least = min(least, time.Since(start))
	}
	return least
}

// Dial makes distance a nats.CustomDialer.
func (d *distance) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	far := &farConn{Conn: c, far: d, closed: make(chan struct{}), out: make(chan packet, 1024), in: make(chan packet, 1024)}
	go far.send()
	go far.receive()
	return far, nil
}

// farConn is a connection whose bytes arrive late, however many are under way.
type farConn struct {
	net.Conn
	far     *distance
	out, in chan packet
	rest    []byte // of the packet that is being read
	closing sync.Once
	closed  chan struct{}
}

type packet struct {
	due  time.Time
	data []byte
}

func (c *farConn) packet(data []byte) packet {
	return packet{time.Now().Add(time.Duration(c.far.Load())), bytes.Clone(data)}
}

// arrived waits until a packet is there, and reports whether it comes at all.
func (c *farConn) arrived(p packet) bool {
	wait := time.Until(p.due)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closed:
		return false
	}
}

func (c *farConn) Write(b []byte) (int, error) {
	select {
	case c.out <- c.packet(b):
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *farConn) send() {
	for {
		select {
		case p := <-c.out:
			if !c.arrived(p) {
				return
			}
			if _, err := c.Conn.Write(p.data); err != nil {
				_ = c.Close() // the reader learns of it
				return
			}
		case <-c.closed:
			return
		}
	}
}

func (c *farConn) receive() {
	defer close(c.in)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Conn.Read(buf)
		if err != nil {
			return
		}
		select {
		case c.in <- c.packet(buf[:n]):
		case <-c.closed:
			return
		}
	}
}

func (c *farConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		p, ok := <-c.in
		if !ok || !c.arrived(p) {
			return 0, net.ErrClosed
		}
		c.rest = p.data
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *farConn) Close() (err error) {
	c.closing.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
	})
	return err
}
