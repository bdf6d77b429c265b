package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// RespondOptions are what a responder may be made with. The zero value of each field
// is its default.
type RespondOptions struct {
	// Version is a semantic version, for tools; default "0.0.0".
	Version string
	// Description and Metadata describe the service for tools.
	Description string
	Metadata    map[string]string
	// Errors are the errors of rules, by a code of letters, digits, '-' and '_' that
	// never changes. A command or query that fails with one is answered with its
	// code, and a client with the same map returns an error that matches it.
	Errors map[string]error
	// MaxRequest is how many bytes of JSON a request may have; default 256 KiB.
	// The server has a limit of its own.
	MaxRequest int
	// InHand is how many commands, and how many queries, are in hand at a time;
	// default 256 of each.
	InHand int
	// Waiting is how many more of each wait until it is their turn; default 1024.
	// Others are answered as unavailable, so that their client asks again later, and
	// perhaps another instance.
	Waiting int
	// Timeout is how long a request may take, from its arrival on; default 10
	// seconds. A client may ask for less.
	Timeout time.Duration
	// Logger gets what an answer does not say. Default: none.
	Logger *slog.Logger
	// Around are called for each request, each around the one after it, and call next
	// to have it executed. One may give it another context, or return an error
	// instead; what the first returns is answered. Default: next alone.
	Around []Around
	// OnAnswer is told of each request that is answered, also of one that was refused
	// before it was executed, before the answer is sent. It is called from several
	// goroutines and should return soon. Default: nobody is told.
	OnAnswer func(Answered)
}

// Responder answers requests until it is stopped.
type Responder struct {
	nc      *nats.Conn
	id      string
	service string
	opts    RespondOptions
	codes   codes
	log     *slog.Logger
	began   time.Time

	endpoints []*endpoint
	subs      []*subscription
	commands  crew
	queries   crew
	base      context.Context
	cancel    context.CancelFunc

	mu      sync.Mutex
	refused error // the last thing that the server did not permit
}

type endpoint struct {
	Endpoint
	subject string // whole
	crew    *crew
	tally
}

type subscription struct {
	*nats.Subscription
	closed chan struct{} // after its last message
}

// Respond begins to answer requests to a service, whose name is one word, as an
// instance of it. When it returns, the server knows of it.
//
// The error is an [eventstore.InvalidError], an [eventstore.DeniedError] if the
// server does not permit to subscribe, or that of the connection. Nothing is answered
// then. The context is for Respond only.
func Respond(ctx context.Context, nc *nats.Conn, service string, endpoints []Endpoint, opts *RespondOptions) (*Responder, error) {
	r, err := newResponder(nc, service, endpoints, opts)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", clip(service, maxValue), err)
	}
	if err := r.subscribe(ctx); err != nil {
		r.abandon()
		return nil, fmt.Errorf("service %s: %w", service, err)
	}
	return r, nil
}

func newResponder(nc *nats.Conn, service string, endpoints []Endpoint, opts *RespondOptions) (*Responder, error) {
	if opts == nil {
		opts = &RespondOptions{}
	}
	r := &Responder{nc: nc, id: uuid.NewString(), service: service, opts: *opts, codes: maps.Clone(opts.Errors), began: time.Now().UTC()}
	r.opts.Version = cmp.Or(opts.Version, "0.0.0")
	r.opts.Metadata = maps.Clone(opts.Metadata)
	r.log = opts.Logger
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.opts.MaxRequest = positive(opts.MaxRequest, 256<<10)
	r.opts.Timeout = positive(opts.Timeout, 10*time.Second)
	for _, c := range []*crew{&r.commands, &r.queries} {
		c.begin(positive(opts.InHand, 256), positive(opts.Waiting, 1024))
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.add(endpoints); err != nil {
		return nil, err
	}
	r.refused = nc.LastError()
	r.base, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func positive[N int | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// semantic is a version as package micro wants it, and its tools.
var semantic = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)

func (r *Responder) check() error {
	switch {
	case r.nc == nil:
		return &eventstore.InvalidError{What: "connection", Reason: "is nil"}
	case !semantic.MatchString(r.opts.Version):
		return &eventstore.InvalidError{What: "version", Value: r.opts.Version, Reason: `must be a semantic version, as "1.2.3" is`}
	}
	if err := checkService(r.service); err != nil {
		return err
	}
	return r.codes.check()
}

func (r *Responder) add(endpoints []Endpoint) error {
	if len(endpoints) == 0 {
		return &eventstore.InvalidError{What: "endpoints", Reason: "must not be empty"}
	}
	known := make(map[string]bool)
	for _, e := range endpoints {
		switch {
		case e.wrong != nil:
			return e.wrong
		case e.answer == nil:
			return &eventstore.InvalidError{What: "endpoint", Reason: "was not made by Handle or Query"}
		case known[e.subject]:
			return &eventstore.InvalidError{What: "endpoint", Value: e.subject, Reason: "is there twice"}
		}
		known[e.subject] = true
		served := &endpoint{Endpoint: e, subject: r.service + "." + e.subject, crew: &r.queries}
		if e.command {
			served.crew = &r.commands
		}
		r.endpoints = append(r.endpoints, served)
	}
	return nil
}

// subscribe makes the subscriptions. The connection knows of the last refusal only: where
// that is one of somebody else, one of ours may have come before it, and shows when they
// are made again.
func (r *Responder) subscribe(ctx context.Context) error {
	const tries = 5
	for try := 1; ; try++ {
		before := r.nc.LastError()
		if err := r.subscribeOnce(ctx, before); err != nil {
			return err
		}
		if after := r.nc.LastError(); after == before || !errors.Is(after, nats.ErrPermissionViolation) || try == tries {
			return nil
		}
		r.unsubscribe()
	}
}

func (r *Responder) subscribeOnce(ctx context.Context, before error) error {
	for _, e := range r.endpoints {
		if err := r.listen(e.subject, micro.DefaultQueueGroup, func(m *nats.Msg) { r.receive(e, m) }); err != nil {
			return err
		}
	}
	if err := r.discoverable(); err != nil {
		return err
	}
	if err := flush(ctx, r.nc); err != nil {
		return err
	}
	for _, s := range r.subs {
		if err := denied(r.nc, before, s.Subject); err != nil {
			return err
		}
	}
	return nil
}

// listen adds a subscription, in a queue group if one is named.
func (r *Responder) listen(subject, queue string, receive nats.MsgHandler) error {
	var sub *nats.Subscription
	var err error
	if queue == "" {
		sub, err = r.nc.Subscribe(subject, receive)
	} else {
		sub, err = r.nc.QueueSubscribe(subject, queue, receive)
	}
	if err != nil {
		return err
	}
	s := &subscription{sub, make(chan struct{})}
	sub.SetClosedHandler(func(string) { close(s.closed) })
	r.subs = append(r.subs, s)
	return nil
}

// abandon ends a responder that never began.
func (r *Responder) abandon() {
	r.unsubscribe()
	r.end()
}

func (r *Responder) unsubscribe() {
	for _, s := range r.subs {
		_ = s.Unsubscribe() // fails only where the connection is gone
	}
	r.subs = nil
}

func (r *Responder) end() {
	r.cancel()
	r.commands.end()
	r.queries.end()
}

// Stop stops taking requests, and returns when those in hand and those waiting are
// answered. If the context ends before, it breaks them off and returns an error: their
// clients ask another instance, with the same command ids. It may be called again.
func (r *Responder) Stop(ctx context.Context) error {
	defer r.end()
	for _, s := range r.subs {
		if err := s.Drain(); err != nil && !gone(err) {
			return fmt.Errorf("service %s: %w", r.service, err)
		}
	}
	for _, s := range r.subs {
		select {
		case <-s.closed:
		case <-ctx.Done():
			return r.unfinished(ctx)
		}
	}
	select {
	case <-r.idle():
	case <-ctx.Done():
		return r.unfinished(ctx)
	}
	// Whoever stops it may close the connection next.
	if err := flush(ctx, r.nc); err != nil && !gone(err) {
		return fmt.Errorf("service %s: the last answers may not be out: %w", r.service, err)
	}
	r.lookRefused()
	return nil
}

// gone reports whether there is no connection, or subscription, to stop any more.
func gone(err error) bool {
	return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription)
}

func (r *Responder) unfinished(ctx context.Context) error {
	return fmt.Errorf("service %s: %d requests broken off: %w", r.service, r.commands.size()+r.queries.size(), context.Cause(ctx))
}

func (r *Responder) idle() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		r.commands.all.Wait()
		r.queries.all.Wait()
		close(done)
	}()
	return done
}

// flush waits until the server has all that was sent.
func flush(ctx context.Context, nc *nats.Conn) error {
	const usual = 10 * time.Second // nats.go wants a deadline
	ctx, cancel := context.WithTimeout(ctx, usual)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

// denied returns a DeniedError if the server did not permit a subject since the
// connection's last error was another one. The server tells only the connection. A
// subject that ends in '.' stands for all that begin with it.
func denied(nc *nats.Conn, before error, subject string) error {
	err := nc.LastError()
	if err == nil || err == before || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if !strings.HasSuffix(subject, ".") {
		subject += `"`
	}
	if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(`"`+subject)) {
		return nil
	}
	return &eventstore.DeniedError{Reason: err}
}
