package service_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// patience bounds what should never take long.
const patience = time.Minute

// natsServer runs a NATS server on the loopback interface.
func natsServer(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.Host, opts.JetStream, opts.StoreDir = "127.0.0.1", true, t.TempDir()
	opts.NoSigs, opts.NoLog = true, true
	if opts.TLSConfig != nil {
		opts.TLS, opts.TLSTimeout = true, 5
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	return s
}

// address returns host:port of a server.
func address(s *server.Server) string { return s.Addr().String() }

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A watcher waits for what happens to a connection.
type watcher struct {
	lines
	events chan service.ConnStatus
}

func newWatcher() *watcher { return &watcher{events: make(chan service.ConnStatus, 1000)} }

func (w *watcher) options() *service.Options {
	return &service.Options{
		Logger:       slog.New(slog.NewTextHandler(&w.lines, nil)),
		OnConnection: func(s service.ConnStatus) { w.events <- s },
	}
}

// on returns options with which a service runs on the server of a house.
func on(h house) *service.Options {
	return &service.Options{Connect: h.on.Connect, Logger: slog.New(slog.DiscardHandler)}
}

// await returns the next event of a kind.
func (w *watcher) await(t *testing.T, state service.ConnState) service.ConnStatus {
	t.Helper()
	for {
		select {
		case got := <-w.events:
			if got.State == state {
				return got
			}
		case <-time.After(patience):
			t.Fatalf("the connection was never %q: %s", state, &w.lines)
		}
	}
}

// startService starts a service that ends with the test.
func startService(t *testing.T, c service.Config, opts *service.Options) *service.Service {
	t.Helper()
	if opts == nil {
		opts = newWatcher().options()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := service.Start(ctx, c, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Each row is a server, and why a service does not connect to it.
func TestNotConnected(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t, "client", time.Hour)
	stale, staleKey := ca.issue(t, "stale", -time.Hour)
	mutual := func(t *testing.T) *server.Options {
		c := ca.server(t, "mutual", time.Hour)
		c.ClientAuth = tls.RequireAndVerifyClientCert
		return &server.Options{TLSConfig: c, TLSVerify: true}
	}
	secured := func(t *testing.T) *server.Options {
		return &server.Options{TLSConfig: ca.server(t, "server", time.Hour)}
	}
	expired := func(t *testing.T) *server.Options {
		return &server.Options{TLSConfig: ca.server(t, "expired", -time.Hour)}
	}
	bare := func(*testing.T) *server.Options { return &server.Options{} }
	users := func(*testing.T) *server.Options { return &server.Options{Username: "ann", Password: "right"} }
	tokens := func(*testing.T) *server.Options { return &server.Options{Authorization: "right"} }
	unknown := func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }
	invalid := func(err error) bool {
		var e x509.CertificateInvalidError
		return errors.As(err, &e) && e.Reason == x509.Expired
	}
	wanted := func(err error) bool { return errors.Is(err, nats.ErrSecureConnWanted) }
	for name, c := range map[string]struct {
		server func(*testing.T) *server.Options
		scheme string
		config service.Config
		kind   error
		cause  func(error) bool // nil: any
	}{
		"no TLS, with a CA":      {bare, "nats", service.Config{CAFile: ca.file}, service.ErrUntrusted, wanted},
		"no TLS, scheme tls":     {bare, "tls", service.Config{}, service.ErrUntrusted, wanted},
		"no TLS, with a pair":    {bare, "nats", service.Config{CertFile: cert, KeyFile: key}, service.ErrUntrusted, wanted},
		"wrong CA":               {secured, "tls", service.Config{CAFile: other.file}, service.ErrUntrusted, unknown},
		"wrong CA, scheme nats":  {secured, "nats", service.Config{CAFile: other.file}, service.ErrUntrusted, unknown},
		"the system's CAs":       {secured, "nats", service.Config{}, service.ErrUntrusted, unknown},
		"expired":                {expired, "tls", service.Config{CAFile: ca.file}, service.ErrUntrusted, invalid},
		"no client certificate":  {mutual, "tls", service.Config{CAFile: ca.file}, service.ErrUntrusted, nil},
		"expired client":         {mutual, "tls", service.Config{CAFile: ca.file, CertFile: stale, KeyFile: staleKey}, service.ErrUntrusted, nil},
		"wrong password":         {users, "nats", service.Config{User: "ann", Password: service.NewSecret("wrong")}, service.ErrUnauthorized, nil},
		"wrong user":             {users, "nats", service.Config{User: "bob", Password: service.NewSecret("right")}, service.ErrUnauthorized, nil},
		"no user":                {users, "nats", service.Config{}, service.ErrUnauthorized, nil},
		"wrong token":            {tokens, "nats", service.Config{Token: service.NewSecret("wrong")}, service.ErrUnauthorized, nil},
		"wrong user in the URL":  {users, "nats", service.Config{Servers: []string{"bob:wrong@"}}, service.ErrUnauthorized, nil},
		"wrong token in the URL": {tokens, "nats", service.Config{Servers: []string{"wrong@"}}, service.ErrUnauthorized, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natsServer(t, c.server(t))
			user := strings.Join(c.config.Servers, "")
			c.config.Servers = []string{c.scheme + "://" + user + address(s)}
			w := newWatcher()
			_, err := service.Start(t.Context(), c.config, w.options()) // without a deadline
			var refused *service.ConnectError
			if !errors.Is(err, c.kind) || !errors.As(err, &refused) || !strings.Contains(err.Error(), address(s)) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			if c.cause != nil && !c.cause(err) {
				t.Errorf("it does not match its cause: %v", err)
			}
			if strings.Contains(err.Error()+w.String(), "wrong") || strings.Contains(err.Error()+w.String(), "right") {
				t.Errorf("it shows a secret: %v %s", err, &w.lines)
			}
			t.Log(err)
		})
	}
}

// A server without TLS learns nothing from a client that wants it.
func TestNothingInPlaintext(t *testing.T) {
	t.Parallel()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		conn, err := listen.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, `INFO {"server_id":"x","version":"2.15.2","headers":true,"max_payload":1048576}`+"\r\n")
		got, _ := io.ReadAll(conn)
		said <- string(got)
	}()
	defer listen.Close()
	_, err = service.Start(t.Context(), service.Config{
		Servers: []string{"tls://ann:hunter2@" + listen.Addr().String()},
	}, newWatcher().options())
	if !errors.Is(err, service.ErrUntrusted) {
		t.Errorf("got %v", err)
	}
	if got := <-said; got != "" {
		t.Errorf("the client said %q", got)
	}
}

func TestConnected(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "client", time.Hour)
	mutual := ca.server(t, "server", time.Hour)
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	s := natsServer(t, &server.Options{TLSConfig: mutual, TLSVerify: true, Username: "ann", Password: "right"})
	w := newWatcher()
	svc := startService(t, service.Config{
		Servers: []string{address(s)}, User: "ann", Password: service.NewSecret("right"),
		CAFile: ca.file, CertFile: cert, KeyFile: key, Service: "orders", Instance: "orders-1", Log: "shop", InboxPrefix: "_INBOX_orders",
	}, w.options())
	if _, err := svc.Conn().TLSConnectionState(); err != nil {
		t.Error(err)
	}
	if name := svc.Conn().Opts.Name; name != "orders/orders-1" {
		t.Errorf("the connection is named %q", name)
	}
	if inbox := svc.Conn().NewInbox(); !strings.HasPrefix(inbox, "_INBOX_orders.") {
		t.Errorf("it is answered at %s", inbox)
	}
	if got := w.await(t, service.Connected); !strings.Contains(got.Server, address(s)) {
		t.Errorf("connected to %+v", got)
	}
	pay(t, svc.Log(), "front", 1)
	if !strings.Contains(w.String(), "service=orders") || strings.Contains(w.String(), "right") {
		t.Errorf("the log says %s", &w.lines)
	}
}

// A server that comes back without TLS, or with another certificate, is not taken.
func TestReconnectsWithTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	first := natsServer(t, &server.Options{TLSConfig: ca.server(t, "server", time.Hour)})
	w := newWatcher()
	svc := startService(t, service.Config{Servers: []string{address(first)}, CAFile: ca.file}, w.options())
	port := first.Addr().(*net.TCPAddr).Port
	first.Shutdown()
	first.WaitForShutdown()
	for _, opts := range []*server.Options{
		{Port: port},
		{Port: port, TLSConfig: newAuthority(t).server(t, "other", time.Hour)},
		{Port: port, TLSConfig: ca.server(t, "expired", -time.Hour)},
	} {
		s := natsServer(t, opts)
		for {
			got := w.await(t, service.Disconnected)
			if errors.Is(got.Err, service.ErrUntrusted) {
				t.Log(got.Err)
				break
			}
		}
		if svc.Conn().IsConnected() {
			t.Error("it is connected")
		}
		s.Shutdown()
		s.WaitForShutdown()
	}
	natsServer(t, &server.Options{Port: port, TLSConfig: ca.server(t, "server", time.Hour)})
	w.await(t, service.Reconnected)
}

// pay appends an event to a till.
func pay(t *testing.T, log *eventstore.Store, till string, amount int) {
	t.Helper()
	if err := tryPay(t.Context(), log, till, amount); err != nil {
		t.Fatal(err)
	}
}

func tryPay(ctx context.Context, log *eventstore.Store, till string, amount int) error {
	event, err := tillCodec.Encode(Paid{amount})
	if err != nil {
		return err
	}
	_, err = log.Append(ctx, eventstore.StreamID{Kind: "till", ID: till}, eventstore.Any, []eventstore.EventData{event}, nil)
	return err
}

// A service that is started before its server waits for it, as long as its context.
func TestServerComesLater(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	b.stop(t)
	w := newWatcher()
	started := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		svc, err := service.Start(ctx, service.Config{Servers: []string{b.address}, Log: "shop"}, w.options())
		if err == nil {
			err = svc.Stop(ctx)
		}
		started <- err
	}()
	if got := w.await(t, service.Disconnected); !errors.Is(got.Err, service.ErrUnreachable) || !strings.Contains(got.Err.Error(), "refused") {
		t.Errorf("told %v", got.Err)
	}
	b.start(t)
	if err := <-started; err != nil {
		t.Error(err)
	}
}

func TestServerNeverComes(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	b.stop(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, server := range map[string]string{"refused": b.address, "silent": silent.Addr().String()} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		_, err := service.Start(ctx, service.Config{Servers: []string{server}}, newWatcher().options())
		cancel()
		if !errors.Is(err, service.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("%s: it took %v", name, took)
		}
		t.Log(err)
	}
}

// A breakable is a server that comes back at the same address with the same data.
type breakable struct {
	dir, address string
	server       *embedded.Server
}

func newBreakable(t *testing.T) *breakable {
	t.Helper()
	b := &breakable{dir: t.TempDir(), address: "127.0.0.1:0"}
	b.start(t)
	b.address = strings.TrimPrefix(b.server.URL(), "nats://")
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *breakable) start(t *testing.T) {
	t.Helper()
	eventually(t, func() (err error) { // something else may have the port for a moment
		b.server, err = embedded.Start(t.Context(), b.dir, &embedded.Options{Relaxed: true, Listen: b.address})
		return err
	})
}

func (b *breakable) stop(t *testing.T) {
	t.Helper()
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
}

// eventually calls f until it returns nil, and fails after a while.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("gave up waiting: %v", err)
		}
	}
}

// During an outage a command waits for its context, and ends with a typed error; a
// projection goes on by itself when it is over.
func TestOutage(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	w := newWatcher()
	svc := startService(t, service.Config{Servers: []string{b.address}, Log: "shop"}, w.options())
	income := newIncome(t, svc, nil)
	svc.Project(income, nil)
	pay(t, svc.Log(), "front", 1)
	income.await(t, 1)
	b.stop(t)
	if got := w.await(t, service.Disconnected); got.Err == nil {
		t.Error("it is not said why")
	}
	for _, wait := range []time.Duration{0, 200 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		began := time.Now()
		err := tryPay(ctx, svc.Log(), "front", 1000)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", wait, err)
		}
		if took := time.Since(began); took > wait+time.Second {
			t.Errorf("it took %v to wait for %v", took, wait)
		}
		if errors.Is(err, eventstore.ErrUnknownOutcome) {
			t.Errorf("it was sent to nobody: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	_, err := svc.Log().Position(ctx)
	cancel()
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a read ends with %v", err)
	}
	// One that has the time for it is stored when the server is back.
	paid := make(chan error, 1)
	go func() { paid <- tryPay(t.Context(), svc.Log(), "front", 2) }()
	b.start(t)
	w.await(t, service.Reconnected)
	eventually(t, func() error { return <-paid })
	income.await(t, 3)
}

// A server that will stop says so.
func TestLameDuck(t *testing.T) {
	t.Parallel()
	s := natsServer(t, &server.Options{LameDuckDuration: 2 * time.Second, LameDuckGracePeriod: time.Millisecond})
	w := newWatcher()
	startService(t, service.Config{Servers: []string{address(s)}}, w.options())
	s.LameDuckShutdown()
	w.await(t, service.LameDuck)
	w.await(t, service.Disconnected)
	if !strings.Contains(w.String(), "lame duck") {
		t.Errorf("the log says %s", &w.lines)
	}
}

// Others in the process use a server that the program has.
func TestSharedServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"orders", "payments"} {
		c := service.Config{Service: name, Log: "test", DataDir: t.TempDir()}
		pay(t, startService(t, c, on(h)).Log(), name, 1)
	}
	h.want(t, "orders", 1, 1)
	h.want(t, "payments", 1, 1)
}

func TestHighWater(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := service.Config{Service: "orders", Instance: "a", Log: "test", HighWaterDir: t.TempDir()}
	opts := on(h)
	pay(t, startService(t, c, opts).Log(), "front", 1)
	if _, err := service.Start(t.Context(), c, opts); err == nil || !strings.Contains(err.Error(), "HEADWATER_INSTANCE") {
		t.Errorf("two with one mark: %v", err)
	}
	c.Instance = "b"
	startService(t, c, opts)
	c.Instance = "c"
	svc, err := service.Start(t.Context(), c, opts)
	if err != nil {
		t.Fatal(err)
	}
	pay(t, svc.Log(), "front", 1)
	if err := svc.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	opts.Connect = newHouse(t).on.Connect // its log is another one
	if _, err := service.Start(t.Context(), c, opts); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("with the mark of another log: %v", err)
	}
}
