package service

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
)

// ConnState is what happened to a connection.
type ConnState string

// What can happen to a connection.
const (
	Connected    ConnState = "connected"
	Disconnected ConnState = "disconnected" // it will try again for ever; Err says why, where that is known
	Reconnected  ConnState = "reconnected"
	LameDuck     ConnState = "lame duck" // its server will stop; then another is taken
	Refused      ConnState = "refused"   // the server refused something, or messages were dropped: Err says what
	Closed       ConnState = "closed"    // for good
)

// ConnStatus is something that happened to a connection.
type ConnStatus struct {
	State  ConnState
	Server string // URL of the server; "" if there is none, or it is in this process
	Err    error
}

// connection follows what happens to a connection.
type connection struct {
	servers []string
	log     *slog.Logger
	hook    func(ConnStatus)
	closed  chan struct{}
	telling sync.Mutex // held while the hook is told

	mu   sync.Mutex
	last error // why it is not connected; nil: it is
}

// options are the handlers.
func (c *connection) options() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(func(nc *nats.Conn) { c.tell(nc, Connected, nil) }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) { c.tell(nc, Disconnected, err) }),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) { c.tell(nc, Disconnected, err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { c.tell(nc, Reconnected, nil) }),
		nats.LameDuckModeHandler(func(nc *nats.Conn) { c.tell(nc, LameDuck, nil) }),
		nats.ErrorHandler(func(nc *nats.Conn, _ *nats.Subscription, err error) { c.failed(nc, err) }),
		nats.ClosedHandler(func(nc *nats.Conn) {
			c.tell(nc, Closed, nil)
			close(c.closed)
		}),
	}
}

// failed tells an error that came by itself. One about the user comes before the
// server closes the connection.
func (c *connection) failed(nc *nats.Conn, err error) {
	if connectKind(err) == ErrUnauthorized {
		c.tell(nc, Disconnected, err)
		return
	}
	c.tell(nc, Refused, err)
}

// tell tells what happened; there may be no connection yet.
func (c *connection) tell(nc *nats.Conn, state ConnState, err error) {
	if kind := connectKind(err); state == Disconnected && kind != nil && !errors.As(err, new(*ConnectError)) {
		err = &ConnectError{Servers: c.servers, Kind: kind, Err: err}
	}
	if state == Disconnected && nc != nil && nc.IsClosed() {
		return // that is told by itself
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	if !c.news(state, err) {
		return
	}
	status := ConnStatus{State: state, Err: err}
	var attrs []slog.Attr
	if nc != nil && nc.ConnectedUrl() != "" && nc.Opts.InProcessServer == nil {
		status.Server = nc.ConnectedUrlRedacted()
		attrs = append(attrs, slog.String("server", status.Server))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	level := slog.LevelInfo
	if state == Disconnected || state == LameDuck || state == Refused {
		level = slog.LevelWarn
	}
	c.log.LogAttrs(context.Background(), level, "NATS connection "+string(state), attrs...)
	if c.hook != nil {
		c.hook(status)
	}
}

var errDisconnected = errors.New("the connection was lost")

// news remembers why there is no connection, the last reason that was given. It
// reports whether that, or whatever else happened, is new: what fails is tried again
// every few seconds.
func (c *connection) news(state ConnState, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case Connected, Reconnected:
		c.last = nil
	case Disconnected:
		before := c.last
		c.last = cmp.Or(err, before, errDisconnected)
		return before == nil || before.Error() != c.last.Error()
	}
	return true
}

// reason returns why there is no connection, nil if there is one.
func (c *connection) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}
