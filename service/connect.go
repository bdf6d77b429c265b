package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// dialTimeout bounds one attempt at one server, TLS and login included.
	dialTimeout = 2 * time.Second
	// A connection on which nothing arrives is given up after three pings.
	pingInterval = 10 * time.Second
	pingsOut     = 2
)

// dialer returns what connects: the function of the options, or the servers of the
// configuration.
func (s *Service) dialer(ctx context.Context) (dial func(...nats.Option) (*nats.Conn, error), first *firstDialer) {
	switch {
	case s.opts.Connect != nil:
		return s.opts.Connect, nil
	case s.server != nil:
		return s.server.Connect, nil
	}
	first = &firstDialer{ctx: ctx}
	return func(opts ...nats.Option) (*nats.Conn, error) {
		return nats.Connect(strings.Join(s.config.Servers, ","), append([]nats.Option{nats.SetCustomDialer(first)}, opts...)...)
	}, first
}

// connect connects. While no server answers it tries again until the context ends.
func (s *Service) connect(ctx context.Context) error {
	opts, err := s.natsOptions()
	if err != nil {
		return err
	}
	dial, first := s.dialer(ctx)
	for attempt := 0; ; attempt++ {
		nc, err := dial(opts...)
		if err == nil && nc.Opts.ClosedCB == nil { // nobody would learn what happens to it
			nc.Close()
			return errors.New("Options.Connect does not use the options that it is given")
		}
		if err == nil {
			first.over()
			s.mu.Lock() // the health endpoints are served already
			defer s.mu.Unlock()
			s.nc = nc
			return nil
		}
		// What the dialer says is more than that there is no server.
		kind := connectKind(err)
		if kind == ErrUnreachable {
			err = cmp.Or(first.failure(), err)
		}
		refused := &ConnectError{Servers: s.conn.servers, Kind: kind, Err: err}
		if kind != ErrUnreachable || len(s.config.Servers) == 0 {
			return refused
		}
		s.conn.tell(nil, Disconnected, refused)
		if pause(ctx, attempt+2); ctx.Err() != nil {
			refused.Err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
			return refused
		}
	}
}

// natsOptions are those of the connection, the program's own included.
func (s *Service) natsOptions() ([]nats.Option, error) {
	c := s.config
	opts := []nats.Option{
		nats.Name(c.Service + "/" + c.Instance),
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(s.reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // a user may come back
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsOut),
		nats.DrainTimeout(c.ShutdownTimeout),
	}
	secure, err := c.secureOptions()
	if err != nil {
		return nil, err
	}
	opts = append(opts, secure...)
	if c.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	opts = append(opts, s.opts.NATS...)
	return append(opts, s.conn.options()...), nil
}

// reconnectDelay is the pause after all servers were tried so many times: at first
// short, since most interruptions are, and never the same for two clients.
func (s *Service) reconnectDelay(attempts int) time.Duration {
	s.mu.Lock()
	nc := s.nc
	s.mu.Unlock()
	// nats.go tells no handler why a server was not taken that could be dialed.
	if err := nc.LastError(); err != nil && connectKind(err) != ErrUnreachable {
		s.conn.tell(nc, Disconnected, err)
	}
	const first, longest = 50 * time.Millisecond, 4 * time.Second
	d := min(first<<min(max(attempts-1, 0), 16), longest)
	return d/2 + rand.N(d/2)
}

// secureOptions are about TLS and the user. With any of the files the connection is
// refused where the server has no TLS, as with the scheme tls.
func (c *Config) secureOptions() (opts []nats.Option, err error) {
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	for _, server := range c.Servers {
		if strings.HasPrefix(server, "tls://") || strings.HasPrefix(server, "wss://") {
			opts = append(opts, secure)
			break
		}
	}
	switch {
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password.reveal()))
	case c.Token.isSet():
		opts = append(opts, nats.Token(c.Token.reveal()))
	case c.CredentialsFile != "":
		opts = append(opts, nats.UserCredentials(c.CredentialsFile))
	case c.NkeyFile != "":
		nkey, err := nats.NkeyOptionFromSeed(c.NkeyFile)
		if err != nil {
			return nil, &ConfigError{mistakes{{"NATS_NKEY", fileReason(err, "is not a file with the seed of a user's nkey")}}}
		}
		opts = append(opts, nkey)
	}
	return opts, nil
}

// secure makes TLS a condition, also of the servers whose URL does not say so. (With
// nats.Secure the certificates of other options would be lost.)
func secure(o *nats.Options) error {
	o.Secure = true
	return nil
}

// firstDialer lets a context bound the first connection as a whole. nats.go knows of
// a time-out for each server only.
type firstDialer struct {
	ctx context.Context

	mu     sync.Mutex
	last   error
	done   bool
	unbind []func() bool
}

// Dial connects; to what becomes of the connection the context applies as well, until
// over is called.
func (d *firstDialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.bound(), dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last = err; err != nil {
		return nil, err
	}
	if !d.done {
		d.unbind = append(d.unbind, context.AfterFunc(d.ctx, func() { _ = conn.Close() }))
	}
	return conn, nil
}

func (d *firstDialer) bound() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return context.Background()
	}
	return d.ctx
}

// over says that there is a connection.
func (d *firstDialer) over() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = true
	for _, stop := range d.unbind {
		stop()
	}
	d.unbind = nil
}

// failure returns why no server could be dialed, nil if that is not known.
func (d *firstDialer) failure() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.Is(d.last, context.Canceled) || errors.Is(d.last, context.DeadlineExceeded) {
		return nil
	}
	return d.last
}
