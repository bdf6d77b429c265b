package aggregate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Store is what a repository needs of a log: an [eventstore.Store], or what
// wraps or replaces one and does the same. Package eventstore/storetest tests
// that it does.
type Store interface {
	Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error)
	Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error]
}

// Repository loads and changes the aggregates of one kind. It may be used from
// several goroutines, and by several processes on one log.
type Repository[S State[S, E], E any] struct {
	store    Store
	kind     string
	codec    eventstore.Codec[E]
	attempts int
}

// Options are what a repository may be made with. The zero value of each field
// is its default.
type Options struct {
	// Attempts is how often a command decides before a conflict with other
	// writers is returned; default 10.
	Attempts int
}

// NewRepository returns the repository of the aggregates of a kind, such as
// "order", in a log. S is the state, and codec knows its events.
func NewRepository[S State[S, E], E any](store Store, kind string, codec eventstore.Codec[E], opts *Options) *Repository[S, E] {
	r := &Repository[S, E]{store: store, kind: kind, codec: codec, attempts: 10}
	if opts != nil && opts.Attempts > 0 {
		r.attempts = opts.Attempts
	}
	return r
}

// Load returns the state of an aggregate and the revision of its stream: the
// zero value of both if it has no events.
//
// An error is one that [eventstore.Store.Read] yields or the codec returns;
// state and revision are zero then too.
func (r *Repository[S, E]) Load(ctx context.Context, id string) (S, eventstore.Revision, error) {
	return r.load(ctx, id, 0)
}

// LoadVersion returns the state that an aggregate had after the event of the
// given version, or its last state if it has not come that far. The revision
// is that of the commit which holds the version; what its Version is where the
// store is another one, [eventstore.Event.Revision] says. Version 0 is the zero state.
// Errors are those of Load.
func (r *Repository[S, E]) LoadVersion(ctx context.Context, id string, version uint64) (S, eventstore.Revision, error) {
	if version == 0 {
		var zero S
		return zero, eventstore.Revision{}, nil
	}
	return r.load(ctx, id, version)
}

func (r *Repository[S, E]) load(ctx context.Context, id string, to uint64) (S, eventstore.Revision, error) {
	var l loaded[S]
	if err := r.forward(ctx, id, &l, to); err != nil {
		var zero S
		return zero, eventstore.Revision{}, err
	}
	return l.state, l.at, nil
}

// ExecuteOptions are what a command may be executed with. The zero value of
// each field is its default.
type ExecuteOptions struct {
	// CommandID identifies the command for its aggregate and becomes the id of
	// its commit, see [eventstore.AppendOptions]. Executing a command again
	// with the same id answers as the first time, whatever the command says
	// then. Default: a new id.
	CommandID string
	// Time is when it happened; default: now.
	Time time.Time
	// Metadata is stored with the commit, see [eventstore.AppendOptions].
	Metadata map[string]string
}

// RejectedError says that a command's Decide refused, and why. Nothing was
// stored. [errors.Is] and [errors.As] see the error that Decide returned.
type RejectedError struct {
	Stream  eventstore.StreamID
	Version uint64 // of the state that the command decided on
	Err     error  // what Decide returned
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%s rejected at version %d: %v", e.Stream, e.Version, e.Err)
}

// Unwrap returns what Decide returned.
func (e *RejectedError) Unwrap() error { return e.Err }

// Execute loads an aggregate, lets the command decide, and appends the events.
// It returns the state and revision after them, or as loaded if there are
// none. If the command's id was applied before, the command does not decide
// again: state and revision are those after its commit, and the revision is
// marked Replayed.
//
// A refusal is a [RejectedError]. The other errors are those of
// [eventstore.Store.Read] and [eventstore.Store.Append]; a
// [eventstore.ConflictError] only after as many attempts as the options allow.
// After any of them the state and revision returned are zero. After a
// [eventstore.UnknownOutcomeError] execute the command again with its CommitID
// as CommandID: it is then applied once.
func (r *Repository[S, E]) Execute(ctx context.Context, id string, command Command[S, E], opts *ExecuteOptions) (S, eventstore.Revision, error) {
	if opts == nil {
		opts = &ExecuteOptions{}
	}
	state, at, err := r.execute(ctx, id, command, opts)
	if err != nil {
		var zero S
		return zero, eventstore.Revision{}, err
	}
	return state, at, nil
}

func (r *Repository[S, E]) execute(ctx context.Context, id string, command Command[S, E], opts *ExecuteOptions) (S, eventstore.Revision, error) {
	var l loaded[S]
	for attempt := 1; ; attempt++ {
		if err := r.forward(ctx, id, &l, 0); err != nil {
			return l.state, l.at, err
		}
		if version, ok := l.find(opts.CommandID); ok {
			if version == l.at.Version {
				l.at.Replayed = true
				return l.state, l.at, nil
			}
			return r.answerAgain(ctx, id, version)
		}
		state, at, err := r.decide(ctx, id, l, command, opts)
		var reused *eventstore.CommitIDReusedError
		switch {
		case errors.As(err, new(*RejectedError)):
			return state, at, err // whatever Decide's own error matches
		case errors.As(err, &reused):
			// It was applied before what the fold remembers, within the
			// duplicate window.
			return r.answerAgain(ctx, id, reused.Stored.Version)
		case err == nil && at.Replayed:
			return r.answerAgain(ctx, id, at.Version)
		case !errors.Is(err, eventstore.ErrConflict):
			return state, at, err
		case attempt >= r.attempts:
			return state, at, fmt.Errorf("gave up after %d attempts: %w", attempt, err)
		}
		if err := pause(ctx, attempt, err); err != nil {
			return state, at, err
		}
	}
}

// decide lets the command decide on a loaded state and appends what it says.
func (r *Repository[S, E]) decide(ctx context.Context, id string, l loaded[S], command Command[S, E], opts *ExecuteOptions) (S, eventstore.Revision, error) {
	events, err := command.Decide(l.state)
	if err != nil {
		return l.state, l.at, &RejectedError{Stream: r.stream(id), Version: l.at.Version, Err: err}
	}
	if len(events) == 0 {
		return l.state, l.at, nil
	}
	state, data := l.state, make([]eventstore.EventData, len(events))
	for i, e := range events {
		if data[i], e, err = r.encode(e); err != nil {
			return l.state, l.at, fmt.Errorf("%s: nothing stored: %w", r.stream(id), err)
		}
		state = state.Evolve(e)
	}
	at, err := r.store.Append(ctx, r.stream(id), l.at, data, &eventstore.AppendOptions{
		CommitID: opts.CommandID, Time: opts.Time, Metadata: opts.Metadata,
	})
	return state, at, err
}

// encode returns the stored form of an event, and the event as everybody will
// read it back: the state must be what a load returns.
func (r *Repository[S, E]) encode(event E) (eventstore.EventData, E, error) {
	data, err := r.codec.Encode(event)
	if err != nil {
		return data, event, err
	}
	event, err = r.codec.Decode(eventstore.Event{EventData: data})
	return data, event, err
}

// answerAgain answers for a command whose commit ended at the given version.
func (r *Repository[S, E]) answerAgain(ctx context.Context, id string, version uint64) (S, eventstore.Revision, error) {
	state, at, err := r.LoadVersion(ctx, id, version)
	at.Replayed = true
	return state, at, err
}

// forward folds what the log has after l, up to a version where one is given.
func (r *Repository[S, E]) forward(ctx context.Context, id string, l *loaded[S], to uint64) error {
	for e, err := range r.store.Read(ctx, r.stream(id), &eventstore.ReadOptions{After: l.at, To: to}) {
		if err != nil {
			return err
		}
		event, err := r.codec.Decode(e)
		if err != nil {
			return err
		}
		l.state = l.state.Evolve(event)
		l.move(e.Revision())
	}
	return nil
}

func (r *Repository[S, E]) stream(id string) eventstore.StreamID {
	return eventstore.StreamID{Kind: r.kind, ID: id}
}

// pause waits before the next attempt, longer each time and with jitter, so
// that writers who met once do not meet again.
func pause(ctx context.Context, attempt int, last error) error {
	const first, longest = time.Millisecond, 100 * time.Millisecond
	select {
	case <-time.After(rand.N(min(first<<min(attempt, 16), longest))):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", ctx.Err(), last)
	}
}

// loaded is a folded state: what the events say, where the stream stood, and
// which commands were applied last.
type loaded[S any] struct {
	state  S
	at     eventstore.Revision
	recent []applied
}

type applied struct {
	id      string
	version uint64 // after its commit
}

// move notes where the stream stood after an event. The events of a commit may
// lead to different versions, of which the last counts.
func (l *loaded[S]) move(at eventstore.Revision) {
	if at.Position != l.at.Position {
		l.remember(at)
	} else if n := len(l.recent); n > 0 {
		l.recent[n-1].version = at.Version
	}
	l.at = at
}

func (l *loaded[S]) remember(at eventstore.Revision) {
	if len(l.recent) == eventstore.Remembered {
		l.recent = append(l.recent[:0], l.recent[1:]...)
	}
	l.recent = append(l.recent, applied{at.CommitID, at.Version})
}

func (l *loaded[S]) find(commandID string) (version uint64, ok bool) {
	for _, a := range l.recent {
		if commandID != "" && a.id == commandID {
			return a.version, true
		}
	}
	return 0, false
}
