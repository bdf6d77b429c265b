package service

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Request is what a responder says of a request.
type Request struct {
	Subject  string            // that of the endpoint
	Metadata map[string]string // checked, and also in the context; read it only

	codes codes
}

// Outcome returns the word with which an error is answered, one of those that [Handle]
// names, and "ok" for nil.
func (r Request) Outcome(err error) string {
	if err == nil {
		return outcomeOK
	}
	f, _ := r.codes.describe(err)
	return f.Word
}

const outcomeOK = "ok"

// Around is what is done around the execution of a request. See [RespondOptions].
type Around func(ctx context.Context, r Request, next func(context.Context) error) error

// Answered is what became of a request, for [RespondOptions.OnAnswer].
type Answered struct {
	Subject string        // that of the endpoint
	Outcome string        // "ok", or one of the words that [Handle] names
	Took    time.Duration // since it arrived, and waited for its turn
}

// receive takes a request in hand, lets it wait, or refuses it.
func (r *Responder) receive(e *endpoint, m *nats.Msg) {
	if !answerable(m) {
		r.log.Warn("a request without a reply subject that begins with '_' is ignored", "subject", m.Subject, "reply", clip(m.Reply, maxValue))
		return
	}
	arrived := time.Now()
	r.lookRefused()
	if !e.crew.do(func() { r.serve(e, m, arrived) }) {
		r.fail(e, m, arrived, &Error{Kind: eventstore.ErrUnavailable, Message: "the service has too many requests in hand"})
	}
}

func answerable(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, "_") }

// serve answers a request.
func (r *Responder) serve(e *endpoint, m *nats.Msg, arrived time.Time) {
	data, err := r.answer(e, m, arrived)
	if err != nil {
		r.fail(e, m, arrived, err)
		return
	}
	r.answered(e, arrived, outcomeOK, "")
	r.send(m, &nats.Msg{Subject: m.Reply, Data: data})
}

func (r *Responder) fail(e *endpoint, m *nats.Msg, arrived time.Time, err error) {
	f, whole, err := r.describe(err)
	if !whole {
		r.log.Error("a request failed", "subject", m.Subject, "error", err)
	}
	data, status, message := f.encode()
	r.answered(e, arrived, f.Word, status+":"+message)
	r.send(m, &nats.Msg{Subject: m.Reply, Data: data, Header: nats.Header{
		micro.ErrorHeader: {message}, micro.ErrorCodeHeader: {status},
	}})
}

// describe is that of the codes. An error whose methods panic, as those of a nil
// pointer do, is answered as one that did itself.
func (r *Responder) describe(err error) (f failure, whole bool, same error) {
	defer func() {
		if p := recover(); p != nil {
			f, whole, same = internal, false, panicked(p)
		}
	}()
	f, whole = r.codes.describe(err)
	return f, whole, err
}

// answered counts an answer, and tells of it.
func (r *Responder) answered(e *endpoint, arrived time.Time, outcome, wrong string) {
	took := time.Since(arrived)
	e.count(took, wrong)
	if r.opts.OnAnswer == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("OnAnswer panicked", "error", panicked(p))
		}
	}()
	r.opts.OnAnswer(Answered{e.subject, outcome, took})
}

// panicked is the error of a panic, to be made where that is recovered.
func panicked(p any) error { return fmt.Errorf("%w: panic: %v\n%s", ErrInternal, p, debug.Stack()) }

func (r *Responder) send(m, answer *nats.Msg) {
	if err := r.nc.PublishMsg(answer); err != nil {
		r.log.Error("an answer could not be sent", "subject", m.Subject, "error", err)
	}
}

// lookRefused logs that the server did not permit an answer. It says so to the
// connection only, and later, so that is looked for with the next request and when the
// responder stops.
func (r *Responder) lookRefused() {
	err := r.nc.LastError()
	if err == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	r.mu.Lock()
	news := err != r.refused
	r.refused = err
	r.mu.Unlock()
	if news && strings.Contains(strings.ToLower(err.Error()), `publish to "_`) {
		r.log.Error("the server did not permit an answer: the user needs allow_responses", "error", err)
	}
}

// answer returns the answer to a request.
func (r *Responder) answer(e *endpoint, m *nats.Msg, arrived time.Time) (data []byte, err error) {
	// Below everything else, so that whatever panics is answered.
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, panicked(p)
		}
	}()
	if len(m.Data) > r.opts.MaxRequest {
		return nil, tooLarge("request", len(m.Data), r.opts.MaxRequest)
	}
	if err := checkHeaders(m.Header); err != nil {
		return nil, err
	}
	limit, err := timeout(m.Header, r.opts.Timeout)
	if err != nil {
		return nil, err
	}
	said, err := metadata(m.Header)
	if err != nil {
		return nil, err
	}
	ctx := r.base
	if len(said) > 0 {
		ctx = eventstore.WithMetadata(ctx, said)
	}
	ctx, cancel := context.WithDeadline(ctx, arrived.Add(limit))
	defer cancel()
	if ctx.Err() != nil { // it waited for its turn for too long
		return nil, context.Cause(ctx)
	}
	next := func(ctx context.Context) (err error) {
		data, err = e.answer(ctx, &request{msg: m, largest: int(r.nc.MaxPayload()), log: r.log})
		return err
	}
	for _, around := range slices.Backward(r.opts.Around) {
		inner := next
		next = func(ctx context.Context) error { return around(ctx, Request{e.subject, said, r.codes}, inner) }
	}
	if err := next(ctx); err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%w: Around returned no error and did not call next", ErrInternal)
	}
	return data, nil
}
