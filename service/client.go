package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// ClientOptions are what a client may be made with. The zero value of each field is
// its default.
type ClientOptions struct {
	// Timeout is how long the client waits for an answer before it asks again,
	// perhaps another instance; default 2 seconds. Each time it waits twice as long
	// as the time before. The service breaks off what it cannot do in that time.
	Timeout time.Duration
	// Errors are the errors of the service's rules by their codes, see
	// [RespondOptions.Errors].
	Errors map[string]error
}

// Client asks a service. It may be used from several goroutines.
type Client struct {
	nc      *nats.Conn
	service string
	inbox   string // what the subjects of answers begin with
	timeout time.Duration
	codes   codes
}

// NewClient returns a client of a service. The error is an [eventstore.InvalidError].
func NewClient(nc *nats.Conn, service string, opts *ClientOptions) (*Client, error) {
	if opts == nil {
		opts = &ClientOptions{}
	}
	c := &Client{nc: nc, service: service, timeout: positive(opts.Timeout, 2*time.Second), codes: maps.Clone(opts.Errors)}
	switch {
	case nc == nil:
		return nil, &eventstore.InvalidError{What: "connection", Reason: "is nil"}
	case nc.Opts.InboxPrefix != "" && !strings.HasPrefix(nc.Opts.InboxPrefix, "_"):
		return nil, &eventstore.InvalidError{What: "inbox prefix", Value: nc.Opts.InboxPrefix, Reason: "must begin with '_' for a service to answer"}
	}
	c.inbox = cmp.Or(nc.Opts.InboxPrefix, strings.TrimSuffix(nats.InboxPrefix, ".")) + "."
	if err := cmp.Or(checkService(service), c.codes.check()); err != nil {
		return nil, err
	}
	return c, nil
}

// CommandOptions are what a command may be sent with. The zero value of each field is
// its default.
type CommandOptions struct {
	// CommandID is the command's id, see [aggregate.ExecuteOptions]. Give it where the
	// command may be sent by somebody else again. Default: a new id.
	CommandID string
	// Version is the version that the aggregate must have, see
	// [aggregate.ExecuteOptions]. Default: any.
	Version uint64
	// Metadata is stored with the commit: [eventstore.CorrelationID], CausationID,
	// User, TraceParent and TraceState. Others are refused. What the context has of
	// these goes with the command as well, see [eventstore.WithMetadata]; of two with
	// the same key this one counts.
	Metadata map[string]string
	// State is where the aggregate's state goes, as [json.Unmarshal] puts it there,
	// if the service sends it. If it does not, or another, the error says so, beside
	// the revision, and matches [ErrInternal]. Default: nowhere.
	State any
}

// Execute has a command executed on an aggregate, and returns the revision after it.
// It is marked Replayed if the command was applied before its last attempt.
//
// It sends the command again, with the same id, until it has an answer that says what
// became of it, or the context ends: give it a deadline. Then the error is an
// [eventstore.UnknownOutcomeError] if some attempt may have been, or may be, applied,
// and an [Error] that matches [eventstore.ErrUnavailable] if none was. Both match the
// context's error. The others are told in the package's doc, and no attempt is made
// after one.
func (c *Client) Execute(ctx context.Context, id string, command Typed, opts *CommandOptions) (eventstore.Revision, error) {
	if opts == nil {
		opts = &CommandOptions{}
	}
	kind, _, err := splitCommand(command.RequestType())
	if err != nil {
		return eventstore.Revision{}, err
	}
	r, err := c.newAsking(ctx, "command."+command.RequestType(), command, opts.Metadata)
	if err != nil {
		return eventstore.Revision{}, err
	}
	r.unknown = &eventstore.UnknownOutcomeError{
		Stream: eventstore.StreamID{Kind: kind, ID: id}, CommitID: cmp.Or(opts.CommandID, uuid.NewString()),
	}
	if id == "" {
		return eventstore.Revision{}, &eventstore.InvalidError{What: "aggregate id", Reason: "must not be empty"}
	}
	if err := cmp.Or(setText(r.msg.Header, hdrAggregate, id), setText(r.msg.Header, hdrCommand, r.unknown.CommitID)); err != nil {
		return eventstore.Revision{}, err
	}
	if opts.Version > 0 {
		r.msg.Header[hdrVersion] = []string{strconv.FormatUint(opts.Version, 10)}
	}
	answer, err := r.ask(ctx)
	if err != nil {
		return eventstore.Revision{}, err
	}
	return readDone(answer, opts.State, r.msg.Subject)
}

func readDone(answer []byte, into any, subject string) (eventstore.Revision, error) {
	at, state, err := parseDone(answer)
	switch {
	case err == nil && into == nil:
		return at, nil
	case err == nil && len(state) == 0:
		err = errors.New("the command is applied, and the service did not send the state")
	case err == nil:
		if err = json.Unmarshal(state, into); err == nil {
			return at, nil
		}
		err = fmt.Errorf("the command is applied, and the state is another one: %w", err)
	}
	return at, &Error{Subject: subject, Kind: ErrInternal, Message: clip(err.Error(), maxMessage)}
}

// AskOptions are what a query may be sent with. The zero value of each field is its
// default.
type AskOptions struct {
	// NotBefore is the revision after a commit that the read model must have: one
	// that Execute returned. Of one without more than a position, that counts.
	NotBefore eventstore.Revision
	// Metadata goes with the query, see [CommandOptions].
	Metadata map[string]string
}

// Ask returns the answer to a query. It asks again as [Client.Execute] does, also as
// long as the read model is behind [AskOptions.NotBefore]; if that is so when the
// context ends, the error is a [projection.BehindError].
func Ask[R any](ctx context.Context, c *Client, query Typed, opts *AskOptions) (R, error) {
	if opts == nil {
		opts = &AskOptions{}
	}
	var result R
	r, err := c.newAsking(ctx, queryRoot+query.RequestType(), query, opts.Metadata)
	if err != nil {
		return result, err
	}
	if err := checkWord("query", query.RequestType()); err != nil {
		return result, err
	}
	if opts.NotBefore.Position > 0 {
		r.msg.Header[hdrNotBefore] = []string{notBefore(opts.NotBefore)}
	}
	answer, err := r.ask(ctx)
	if err != nil {
		return result, err
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		var zero R
		return zero, &Error{Subject: r.msg.Subject, Kind: ErrInternal, Message: clip("the answer is another one: "+err.Error(), maxMessage)}
	}
	return result, nil
}

func notBefore(at eventstore.Revision) string {
	if _, known := at.Stream(); !known {
		return strconv.FormatUint(at.Position, 10)
	}
	return encodeRevision(at)
}

// asking is a request until it has its answer.
type asking struct {
	*Client
	msg     *nats.Msg
	unknown *eventstore.UnknownOutcomeError // of a command
	maybe   bool                            // some attempt of it may have been applied
	last    error                           // why there is no answer yet
}

func (c *Client) newAsking(ctx context.Context, name string, body Typed, values map[string]string) (*asking, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, &eventstore.InvalidError{What: "request " + name, Reason: err.Error()}
	}
	r := &asking{Client: c, msg: &nats.Msg{Subject: c.service + "." + name, Data: data, Header: nats.Header{}}}
	// A connection that has yet to be made does not know the limit.
	if limit := int(c.nc.MaxPayload()); limit > 0 && len(data) > limit {
		return nil, tooLarge("request", len(data), limit)
	}
	said := travels(ctx)
	if said == nil {
		said = values
	} else {
		maps.Copy(said, values)
	}
	return r, setMetadata(r.msg.Header, said)
}

// ask sends the request until it has an answer.
func (r *asking) ask(ctx context.Context) ([]byte, error) {
	wait := r.timeout
	for attempt := 0; ctx.Err() == nil; attempt++ {
		answer, err := r.once(ctx, wait)
		if err == nil || !r.again(err) {
			return answer, err
		}
		if r.last == nil || !errors.Is(err, errNoAnswer) { // what was said, says more
			r.last = err
		}
		if r.nc.IsClosed() {
			return nil, r.givenUp(nats.ErrConnectionClosed)
		}
		if err := r.deaf(); err != nil {
			return nil, r.givenUp(err)
		}
		if errors.Is(err, errNoAnswer) {
			wait = min(2*wait, max(r.timeout, longestWait))
		} else {
			pause(ctx, attempt)
		}
	}
	return nil, r.givenUp(context.Cause(ctx))
}

const longestWait = time.Minute

// deaf returns a DeniedError if the server does not permit to hear answers, so that none
// will ever come. That an answer to somebody else is refused to the connection is another
// thing.
func (c *Client) deaf() error {
	err := denied(c.nc, nil, c.inbox)
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "subscription to") {
		return nil
	}
	return err
}

// errNoAnswer says that a request was sent and nobody answered it in time.
var errNoAnswer = errors.New("no answer")

// once makes one attempt.
func (r *asking) once(ctx context.Context, wait time.Duration) ([]byte, error) {
	if r.nc.IsClosed() {
		return nil, r.unsent(nats.ErrConnectionClosed)
	}
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), time.Millisecond)
	}
	// The service's deadline comes first, so that it can say what it waits for.
	patience := max(wait-min(wait/10, 250*time.Millisecond), time.Millisecond)
	r.msg.Header[hdrTimeout] = []string{strconv.FormatInt(patience.Milliseconds(), 10)}
	before := r.nc.LastError()
	attempt, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := r.nc.RequestMsgWithContext(attempt, r.msg)
	switch {
	case err == nil && len(answer.Header[micro.ErrorCodeHeader]) > 0:
		return nil, r.codes.parseFailure(r.msg.Subject, answer.Data)
	case err == nil:
		return answer.Data, nil
	case attempt.Err() != nil:
		if err := denied(r.nc, before, r.msg.Subject); err != nil {
			return nil, fmt.Errorf("%s: %w", r.msg.Subject, err)
		}
		return nil, errNoAnswer
	case errors.Is(err, nats.ErrConnectionClosed): // while it waited
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return nil, r.unsent(err)
}

// unsent returns the error of a request that nobody got.
func (r *asking) unsent(err error) error {
	kind, message := eventstore.ErrUnavailable, "nothing sent"
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		message = "nobody answers for the service"
		err = nil
	case errors.Is(err, nats.ErrMaxPayload):
		kind = eventstore.ErrTooLarge
	}
	return &Error{Subject: r.msg.Subject, Kind: kind, Message: message, Err: err}
}

// again reports whether to make another attempt after an error, and notes what it
// says of this one.
func (r *asking) again(err error) bool {
	switch {
	case errors.Is(err, errNoAnswer), errors.Is(err, eventstore.ErrUnknownOutcome):
		r.maybe = true
		return true
	}
	return errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, projection.ErrBehind)
}

// givenUp returns the error of a request of which no attempt is made any more.
func (r *asking) givenUp(why error) error {
	ended := why
	if r.last != nil {
		why = fmt.Errorf("%w (%w)", why, r.last)
	}
	var behind *projection.BehindError
	switch {
	case r.maybe && r.unknown != nil:
		r.unknown.Cause = why
		return fmt.Errorf("%s: %w", r.msg.Subject, r.unknown)
	case errors.As(r.last, &behind):
		behind.Err = ended
		return r.last
	}
	return &Error{Subject: r.msg.Subject, Kind: eventstore.ErrUnavailable, Message: "given up", Err: why}
}

// pause waits before the next attempt, longer each time and with jitter, so that
// clients who were refused together do not come back together.
func pause(ctx context.Context, attempt int) {
	const first, longest = 10 * time.Millisecond, time.Second
	select {
	case <-time.After(rand.N(min(first<<min(attempt, 16), longest))):
	case <-ctx.Done():
	}
}
