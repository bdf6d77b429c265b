package service_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// nilError panics where it is a nil pointer.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// What panics after a command has decided is answered too, and the service goes on.
func TestPanicBesideTheCommand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var log bytes.Buffer
	var told atomic.Int64
	r := h.respond(t, &service.RespondOptions{
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
		OnAnswer: func(service.Answered) { told.Add(1); panic("a secret") },
	})
	c := h.client(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nothing := trick(t, func(Till) ([]tillEvent, error) {
		var err *nilError
		return nil, err
	})
	if _, err := c.Execute(ctx, "front", nothing, nil); !errors.Is(err, service.ErrInternal) {
		t.Errorf("an error that panics: %v", err)
	}
	if _, err := c.Execute(ctx, "front", Pay{Amount: 5}, nil); err != nil {
		t.Error(err)
	}
	stopResponder(t, r)
	if told.Load() != 2 || !strings.Contains(log.String(), "OnAnswer panicked") || !strings.Contains(log.String(), "nil pointer") {
		t.Errorf("told of %d, and the log has %s", told.Load(), &log)
	}
}

// restricted starts a server with a user who may do anything, and one who may publish
// only to one subject.
func restricted(t *testing.T, subject string) (anybody, user *nats.Conn) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "anybody", Password: "a"},
			{Username: "user", Password: "u", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{subject}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	var conns []*nats.Conn
	for _, name := range []string{"anybody", "user"} {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(name, name[:1]), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		conns = append(conns, nc)
	}
	return conns[0], conns[1]
}

// A service whose answers the server does not permit says so in its log.
func TestAnswerNotPermitted(t *testing.T) {
	t.Parallel()
	anybody, user := restricted(t, "elsewhere")
	var log bytes.Buffer
	r, err := service.Respond(t.Context(), user, "cash", []service.Endpoint{
		service.Query(func(context.Context, Totals) (int, error) { return 1, nil }, nil),
	}, &service.RespondOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(anybody.PublishRequest("cash.query.ask.totals", "_INBOX.somebody", []byte("{}")), anybody.Flush()); err != nil {
		t.Fatal(err)
	}
	stopResponder(t, r)
	if text := log.String(); strings.Count(text, "did not permit an answer") != 1 || !strings.Contains(text, "_INBOX.") {
		t.Errorf("the log has %s", text)
	}
}

// That the server refuses the answers of a service is no reason for a client on the
// same connection to give up.
func TestClientBesideARefusedService(t *testing.T) {
	t.Parallel()
	anybody, user := restricted(t, "cash.>")
	var asked atomic.Int64
	sub, err := anybody.Subscribe("cash.command.till.pay", func(m *nats.Msg) {
		if asked.Add(1) > 1 {
			_ = anybody.PublishMsg(&nats.Msg{Subject: m.Reply, Data: []byte(`{"error":"rejected"}`), Header: nats.Header{"Nats-Service-Error-Code": {"422"}}})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := errors.Join(anybody.Flush(), user.Publish("_INBOX.somebody", nil), user.Flush()); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(user.LastError(), nats.ErrPermissionViolation) {
		t.Fatalf("the server refused nothing: %v", user.LastError())
	}
	c, err := service.NewClient(user, "cash", &service.ClientOptions{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var refused *service.Rejection
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); !errors.As(err, &refused) {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}

// noisy is a connection on which each refusal of a subscription, the first time, is
// followed by one of something else.
type noisy struct {
	net.Conn
	once    sync.Once
	pending []byte
}

func (c *noisy) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		buf := make([]byte, 32<<10)
		n, err := c.Conn.Read(buf)
		if err != nil {
			return 0, err
		}
		c.pending = buf[:n]
		if end := bytes.LastIndex(c.pending, []byte("-ERR 'Permissions Violation for Subscription")); end >= 0 && bytes.HasSuffix(c.pending, []byte("\r\n")) {
			end += bytes.Index(c.pending[end:], []byte("\r\n")) + 2
			c.once.Do(func() {
				c.pending = slices.Insert(c.pending, end, []byte("-ERR 'Permissions Violation for Publish to \"somewhere\"'\r\n")...)
			})
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// noisyServer makes such connections.
type noisyServer struct{ *server.Server }

func (s noisyServer) InProcessConn() (net.Conn, error) {
	conn, err := s.Server.InProcessConn()
	return &noisy{Conn: conn}, err
}

// A service that may not take its requests does not begin, though something else on its
// connection is refused just then.
func TestRespondRefusedBesideAnother(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, NoLog: true,
		Users: []*server.User{{Username: "user", Password: "u", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"$SRV.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(noisyServer{s}), nats.UserInfo("user", "u"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r, err := service.Respond(t.Context(), nc, "cash", []service.Endpoint{
		service.Query(func(context.Context, Totals) (int, error) { return 1, nil }, nil),
	}, nil)
	if err == nil {
		stopResponder(t, r)
	}
	if !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(err.Error(), "cash.query.ask.totals") {
		t.Errorf("got %v", err)
	}
}
