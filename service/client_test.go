package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Errors arrive as what they were.
func TestErrorsOverTheWire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	conflict := &eventstore.ConflictError{Stream: eventstore.StreamID{Kind: "till", ID: "front"}, Expected: eventstore.Version(3), Actual: 4}
	var told error
	h.respond(t, &service.RespondOptions{Around: []service.Around{func(ctx context.Context, r service.Request, next func(context.Context) error) error {
		if r.Metadata[eventstore.User] == "told" {
			return told
		}
		return next(ctx)
	}}})
	c := h.client(t, nil)
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 5}, nil); err != nil {
		t.Fatal(err)
	}

	_, err := c.Execute(t.Context(), "front", Take{Amount: 9}, nil)
	var rejected *aggregate.RejectedError
	var rule *service.Rejection
	if !errors.Is(err, errShort) || !errors.As(err, &rejected) || rejected.Version != 1 || rejected.Stream != conflict.Stream {
		t.Errorf("rejected: %v", err)
	}
	if !errors.As(err, &rule) || rule.Code != "short" || rule.Message != errShort.Error() {
		t.Errorf("rejected: %+v", rule)
	}
	_, err = c.Execute(t.Context(), "none", Take{Amount: 9}, nil)
	if !errors.Is(err, service.ErrNotFound) || !errors.As(err, &rejected) {
		t.Errorf("not found: %v", err)
	}
	_, err = c.Execute(t.Context(), "front", trick(t, func(Till) ([]tillEvent, error) {
		return nil, errors.New("on Mondays\r\nonly " + strings.Repeat("x", 5000))
	}), nil)
	if !errors.As(err, &rejected) || !errors.As(err, &rule) || rule.Code != "" || !strings.HasPrefix(rule.Message, "on Mondays  only x") || len(rule.Message) > 600 {
		t.Errorf("without a code: %v", err)
	}

	for name, test := range map[string]struct {
		told  error
		check func(error) bool
	}{
		"conflict": {conflict, func(err error) bool {
			var got *eventstore.ConflictError
			return errors.As(err, &got) && got.Error() == conflict.Error()
		}},
		"too large": {&eventstore.TooLargeError{Stream: conflict.Stream, What: "message", Size: 9, Limit: 8}, func(err error) bool {
			var got *eventstore.TooLargeError
			return errors.As(err, &got) && got.Size == 9 && got.Limit == 8 && got.What == "message"
		}},
		"corrupt": {&eventstore.CorruptionError{Log: "a secret", Reason: "a secret"}, func(err error) bool { return errors.Is(err, service.ErrInternal) }},
		"denied":  {&eventstore.DeniedError{Reason: errors.New("a secret")}, func(err error) bool { return errors.Is(err, service.ErrInternal) }},
	} {
		told = test.told
		_, err := c.Execute(t.Context(), "front", Pay{Amount: 5}, &service.CommandOptions{Metadata: map[string]string{eventstore.User: "told"}})
		if !test.check(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}

	told = &eventstore.UnknownOutcomeError{Stream: conflict.Stream, CommitID: "x", Cause: errors.New("a secret")}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.Execute(ctx, "front", Pay{Amount: 5}, &service.CommandOptions{CommandID: "x", Metadata: map[string]string{eventstore.User: "told"}})
	var unknown *eventstore.UnknownOutcomeError
	if !errors.As(err, &unknown) || unknown.CommitID != "x" || strings.Contains(err.Error(), "secret") {
		t.Errorf("unknown outcome: %v", err)
	}
	h.want(t, "front", 5, 1)
}

// Nobody answers, so that nothing can have been applied; then somebody does.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.client(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Execute(ctx, "front", Pay{Amount: 1}, nil)
	if !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil)
		done <- err
	}()
	h.respond(t, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	h.want(t, "front", 1, 1)
}

// A command that takes longer than the client waits at first is done in the end, and
// once: by another instance, or by this one when its turn comes.
func TestSlowCommand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	attempts := make(chan struct{}, 100)
	h.respond(t, &service.RespondOptions{Around: []service.Around{func(ctx context.Context, _ service.Request, next func(context.Context) error) error {
		attempts <- struct{}{}
		return next(ctx)
	}}})
	command, begun, letGo := slow(t)
	go func() {
		<-begun
		<-attempts
		<-attempts // the client has asked again
		close(letGo)
	}()
	at, err := h.client(t, &service.ClientOptions{Timeout: 100 * time.Millisecond}).Execute(t.Context(), "front", command, nil)
	if err != nil || at.Version != 1 {
		t.Errorf("got %+v, %v", at, err)
	}
	h.want(t, "front", 1, 1)
}

// An instance dies with a command in hand, which it may have applied.
func TestInstanceDies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nc := testutil.Connect(t, h.on)
	r, err := service.Respond(t.Context(), nc, "cash", []service.Endpoint{service.Handle[Trick](h.tills, nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	command, begun, letGo := slow(t)
	done := make(chan error)
	c := h.client(t, &service.ClientOptions{Timeout: 100 * time.Millisecond})
	go func() {
		_, err := c.Execute(t.Context(), "front", command, nil)
		done <- err
	}()
	<-begun
	nc.Close()
	h.instance(t, nil)
	close(letGo)
	if err := <-done; err != nil {
		t.Error(err)
	}
	stopResponder(t, r)
	h.want(t, "front", 1, 1)
}

// A state that was not to be had does not hide that the command is applied.
func TestStateThatIsNotSent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	c := h.client(t, nil)
	var text string
	if at, err := c.Execute(t.Context(), "front", Pay{Amount: 9}, &service.CommandOptions{State: &text}); !errors.Is(err, service.ErrInternal) || at.Version != 1 {
		t.Errorf("another type: %+v, %v", at, err)
	}
	if at, err := c.Execute(t.Context(), "front", Take{Amount: 1}, &service.CommandOptions{State: new(Till)}); !errors.Is(err, service.ErrInternal) || at.Version != 2 {
		t.Errorf("no state: %+v, %v", at, err)
	}
}

func TestClosedConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nc, err := h.on.Connect()
	if err != nil {
		t.Fatal(err)
	}
	c, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); !errors.Is(err, nats.ErrConnectionClosed) || !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A connection that is closed while a command is under way says nothing about it.
func TestConnectionClosesMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	nc := testutil.Connect(t, h.on)
	c, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		t.Fatal(err)
	}
	command, begun, letGo := slow(t)
	done := make(chan error)
	go func() {
		_, err := c.Execute(t.Context(), "front", command, nil)
		done <- err
	}()
	<-begun
	nc.Close()
	if err := <-done; !errors.Is(err, eventstore.ErrUnknownOutcome) || !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("got %v", err)
	}
	close(letGo)
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := service.NewClient(nil, "cash", nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("no connection: %v", err)
	}
	for _, name := range []string{"", "a.b", "*", ">", "a b", "cash\r\n", "_INBOX", "live", "timers"} {
		if _, err := service.NewClient(testutil.Connect(t, h.on), name, nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("service %q: %v", name, err)
		}
	}
	nc, err := h.on.Connect(nats.CustomInboxPrefix("inbox"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.NewClient(nc, "cash", nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("an inbox of another name: %v", err)
	}
	c := h.client(t, nil)
	for _, command := range []badCommand{"", "pay", "till.", ".pay", "till.pay.now", "till.*", "till.pay\r\n"} {
		if _, err := c.Execute(t.Context(), "front", command, nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("command %q: %v", command, err)
		}
	}
	for key, value := range map[string]string{"color": "red", "": "x", eventstore.User: "a\r\nb"} {
		if _, err := c.Execute(t.Context(), "front", Pay{}, &service.CommandOptions{Metadata: map[string]string{key: value}}); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("metadata %q: %v", key, err)
		}
	}
	if _, err := service.Ask[int](t.Context(), c, badQuery{}, nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a query of two words: %v", err)
	}
}

type badCommand string

func (c badCommand) RequestType() string { return string(c) }

// The permissions of the package's doc are enough, and what goes beyond is an error
// that names it.
func TestServicePermissions(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "service", Password: "s", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"cash.command.> q", "cash.query.> q", "$SRV.>", "_INBOX.>"}},
				Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "test.>"}},
				Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute},
			}},
			{Username: "client", Password: "c", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				Publish:   &server.SubjectPermission{Allow: []string{"cash.command.till.pay"}},
			}},
			{Username: "deaf", Password: "d", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Deny: []string{">"}},
				Publish:   &server.SubjectPermission{Allow: []string{"cash.command.till.pay"}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	connect := func(name string) *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(name, name[:1]), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	nc := connect("service")
	store, err := eventstore.Open(t.Context(), nc, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	tills := aggregate.NewRepository[Till](store, "till", tillCodec, nil)
	endpoints := []service.Endpoint{service.Handle[Pay](tills, nil), service.Handle[Take](tills, nil)}
	r, err := service.Respond(t.Context(), nc, "cash", endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopResponder(t, r) })

	c, err := service.NewClient(connect("client"), "cash", &service.ClientOptions{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); err != nil {
		t.Errorf("what the client may do: %v", err)
	}
	if _, err := c.Execute(t.Context(), "front", Take{Amount: 1}, nil); !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(err.Error(), "cash.command.till.take") {
		t.Errorf("what it may not: %v", err)
	}
	deaf, err := service.NewClient(connect("deaf"), "cash", &service.ClientOptions{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.Execute(t.Context(), "front", Pay{Amount: 1}, nil); !errors.Is(err, eventstore.ErrDenied) || !errors.Is(err, eventstore.ErrUnknownOutcome) || !strings.Contains(err.Error(), "_INBOX.") {
		t.Errorf("a client that may not hear answers: %v", err)
	}
	if _, err := service.Respond(t.Context(), nc, "other", endpoints, nil); !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(err.Error(), "other.command.till") {
		t.Errorf("a service of another name: %v", err)
	}
}

// A client may be made before there is a connection. No request is too large for that,
// which does not know yet what is.
func TestClientBeforeTheConnection(t *testing.T) {
	t.Parallel()
	nc, err := nats.Connect("nats://"+freeAddress(t), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Execute(ctx, "front", Pay{Amount: 1}, nil); !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
