package embedded

import (
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
)

// conns are the connections a server handed out. They are closed with it: a
// client that outlives its in-process server would try to reconnect to it for
// ever, and each call on it would block until its deadline.
type conns struct {
	mu     sync.Mutex
	closed bool
	open   []*nats.Conn
}

func (c *conns) connect(url string, opts []nats.Option) (*nats.Conn, error) {
	// Not under the lock: connecting takes as long as the options allow.
	nc, err := nats.Connect(url, opts...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		if nc != nil {
			nc.Close()
		}
		return nil, ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: connect: %w", err)
	}
	c.open = append(slices.DeleteFunc(c.open, (*nats.Conn).IsClosed), nc)
	return nc, nil
}

func (c *conns) close() {
	c.mu.Lock()
	open := c.open
	c.open, c.closed = nil, true
	c.mu.Unlock()
	for _, nc := range open {
		nc.Close()
	}
}
