package service

import (
	"context"
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
	f, whole := r.codes.describe(err)
	if !whole {
		r.log.Error("a request failed", "subject", m.Subject, "error", err)
	}
	data, status, message := f.encode()
	r.answered(e, arrived, f.Word, status+":"+message)
	r.send(m, &nats.Msg{Subject: m.Reply, Data: data, Header: nats.Header{
		micro.ErrorHeader: {message}, micro.ErrorCodeHeader: {status},
	}})
}

// answered counts an answer, and tells of it.
func (r *Responder) answered(e *endpoint, arrived time.Time, outcome, wrong string) {
	took := time.Since(arrived)
	e.count(took, wrong)
	if r.opts.OnAnswer != nil {
		r.opts.OnAnswer(Answered{e.subject, outcome, took})
	}
}

func (r *Responder) send(m, answer *nats.Msg) {
	if err := r.nc.PublishMsg(answer); err != nil {
		r.log.Error("an answer could not be sent", "subject", m.Subject, "error", err)
	}
}

// answer returns the answer to a request.
func (r *Responder) answer(e *endpoint, m *nats.Msg, arrived time.Time) (data []byte, err error) {
	// Below everything else, so that whatever panics is answered.
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("%w: panic: %v\n%s", ErrInternal, p, debug.Stack())
		}
	}()
	if len(m.Data) > r.opts.MaxRequest {
		return nil, tooLarge("request", len(m.Data), r.opts.MaxRequest)
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
