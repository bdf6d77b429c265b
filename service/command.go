package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
)

// Typed is what a command or query tells: its name on the wire, which is for ever;
// the Go type may be renamed at any time. That of a command is the kind of its
// aggregates, '.', and what to do: "order.place". That of a query is one word:
// "open-orders". Words are letters, digits, '-' and '_', at most 64.
type Typed interface {
	RequestType() string
}

// Command is a command that has a name on the wire. It travels as JSON.
type Command[S, E any] interface {
	aggregate.Command[S, E]
	Typed
}

// Endpoint is something that a service answers. [Handle] and [Query] make them, for
// [Respond].
type Endpoint struct {
	subject  string // without the service
	command  bool
	metadata map[string]string
	answer   func(ctx context.Context, r *request) ([]byte, error)
	wrong    error
}

// HandleOptions are what a command may be handled with. The zero value of each field
// is its default.
type HandleOptions struct {
	// State says that the answer has the aggregate's state after the command, as
	// JSON. Default: it has the revision only.
	State bool
	// Metadata describes the endpoint for tools.
	Metadata map[string]string
}

// Handle returns the endpoint of a command of the type C, which it executes with
// [aggregate.Repository.Execute].
//
// A request is the command as JSON, without fields that it does not know, and these
// headers, in these letters; another that begins with "Hw-" is refused. Values are
// percent-encoded as in a URL's path, those of the trace context as they are. A name
// or id has 255 bytes at most before that, other metadata 1024.
//
//	Hw-Aggregate-Id    which aggregate; required
//	Hw-Command-Id      id of the command; default: a new one
//	Hw-Version         version that the aggregate must have; default: any
//	Hw-Timeout-Ms      for how long whoever asks waits, in milliseconds
//	Hw-Correlation-Id  metadata of the commit, as [eventstore.CorrelationID]
//	Hw-Causation-Id    … [eventstore.CausationID]
//	Hw-User            … [eventstore.User]
//	traceparent        … [eventstore.TraceParent]; left out if it is malformed
//	tracestate         … [eventstore.TraceState]
//
// The answer is JSON: version, position and commit_id of the stream's revision, the
// whole of it as revision, replayed if it was applied before, and state.
//
// An error has the headers of package micro, with a code as in HTTP, and is JSON with
// at least error, one of the words rejected, not-found, conflict, bad-request,
// too-large, unavailable, outcome-unknown, behind, parked, stopped and internal, and
// a message for people.
func Handle[C Command[S, E], S aggregate.State[S, E], E any](repository *aggregate.Repository[S, E], opts *HandleOptions) Endpoint {
	if opts == nil {
		opts = &HandleOptions{}
	}
	var zero C
	name := zero.RequestType()
	kind, _, err := splitCommand(name)
	return Endpoint{
		subject: "command." + name, command: true, metadata: opts.Metadata, wrong: err,
		answer: func(ctx context.Context, r *request) ([]byte, error) {
			var command C
			id, with, err := r.target(&command)
			if err != nil {
				return nil, err
			}
			r.stream = eventstore.StreamID{Kind: kind, ID: id}
			state, at, err := repository.Execute(ctx, id, command, with)
			if err != nil {
				return nil, ofRequest(err)
			}
			return r.done(at, state, opts.State), nil
		},
	}
}

// ofRequest hides that something was invalid which the request does not name: the
// events of the command, for example.
func ofRequest(err error) error {
	var invalid *eventstore.InvalidError
	if !errors.As(err, &invalid) || errors.As(err, new(*aggregate.RejectedError)) {
		return err
	}
	switch what := invalid.What; {
	case what == "stream id", what == "commit id", strings.HasPrefix(what, "metadata"):
		return err
	}
	return fmt.Errorf("%w: %w", ErrInternal, err)
}

// done is the answer for a command that was applied. Where its state cannot be sent
// it has none: an error would say that the command failed.
func (r *request) done(at eventstore.Revision, state any, send bool) []byte {
	d := newDone(at)
	if !send {
		return d.encode()
	}
	bare := d.encode()
	var err error
	if d.State, err = json.Marshal(state); err != nil {
		r.log.Error("a state has no JSON form", "subject", r.msg.Subject, "error", err)
		return bare
	}
	if whole := d.encode(); len(whole) <= r.largest {
		return whole
	}
	r.log.Error("a state is too large to be sent", "subject", r.msg.Subject, "bytes", len(d.State))
	return bare
}

// splitCommand returns the kind and the name that the name of a command is of.
func splitCommand(name string) (kind, command string, err error) {
	kind, command, ok := strings.Cut(name, ".")
	if !ok {
		return "", "", &eventstore.InvalidError{What: "command", Value: name, Reason: `must be a kind of aggregate, '.', and what to do, as in "order.place"`}
	}
	if err := checkWord("kind of aggregate", kind); err != nil {
		return "", "", err
	}
	return kind, command, checkWord("command", command)
}
