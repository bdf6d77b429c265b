package aggregate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// ExecuteOptions are what a command may be executed with. The zero value of
// each field is its default.
type ExecuteOptions struct {
	// CommandID identifies the command for its aggregate and becomes the id of
	// its commit, see [eventstore.AppendOptions]. Executing a command again
	// with the same id answers as the first time, whatever the command says
	// then. Default: a new id.
	CommandID string
	// Version is the version that the aggregate must have, one that somebody has seen
	// for example; if it has another, an [eventstore.ConflictError] is returned. What
	// was applied before, by its CommandID, is answered all the same, if it is
	// remembered or was executed with this Version, however long ago. Default: any.
	Version uint64
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
// marked Replayed. Unless that was the last commit, the history up to it is read
// again for the answer.
//
// A state in memory is decided on as it is. The append finds out whether it is
// the last one; where it does not come to an append, the log is asked.
//
// A refusal is a [RejectedError]. The other errors are those of
// [eventstore.Store.Read] and [eventstore.Store.Append]; an
// [eventstore.ConflictError] at once where the Version is another one, and
// otherwise only after as many attempts as the options allow.
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

func (r *Repository[S, E]) execute(ctx context.Context, id string, command Command[S, E], opts *ExecuteOptions) (state S, at eventstore.Revision, err error) {
	leave, _, err := r.commands.take(ctx, id)
	if err != nil {
		return state, at, fmt.Errorf("%s: nothing sent, waiting for another command: %w", r.stream(id), err)
	}
	defer leave()
	l, cached := r.states.get(id)
	if cached {
		r.stats.cache.Add(1)
	} else if l, err = r.rehydrate(ctx, id); err != nil {
		return state, at, err
	}
	e := execution[S, E]{r, id, command, opts}
	for attempt := 1; ; attempt++ {
		if version, ok := l.find(opts.CommandID); ok {
			return e.answerAgain(ctx, l, version)
		}
		if opts.Version > 0 && l.at.Version != opts.Version {
			if !cached {
				return e.elsewhere(ctx, l)
			}
			cached, attempt = false, attempt-1
			if _, err := e.refresh(ctx, &l); err != nil {
				return state, at, err
			}
			continue
		}
		next, err := e.decide(ctx, l)
		if nothing := err == nil && next.at.Position == l.at.Position; nothing || errors.As(err, new(*RejectedError)) {
			if !cached {
				return l.state, l.at, err
			}
			// Decided on the last state, it may be something.
			cached, attempt = false, attempt-1
			if changed, wrong := e.refresh(ctx, &l); wrong != nil || !changed {
				return l.state, l.at, cmp.Or(wrong, err)
			}
			continue
		}
		var reused *eventstore.CommitIDReusedError
		switch {
		case errors.As(err, &reused):
			// It was applied before what the fold remembers, within the
			// duplicate window.
			return e.answerAgain(ctx, l, reused.Stored.Version)
		case err == nil && next.at.Replayed:
			return e.answerAgain(ctx, l, next.at.Version)
		case err == nil:
			r.keep(id, &next)
			return next.state, next.at, nil
		case !errors.Is(err, eventstore.ErrConflict):
			return state, at, err
		}
		r.stats.conflicts.Add(1)
		switch {
		case cached: // the state was old, which is no contention
			cached, attempt = false, attempt-1
		case attempt >= r.attempts:
			return state, at, fmt.Errorf("gave up after %d attempts: %w", attempt, err)
		case opts.Version > 0: // it is over, unless it was this command that was faster
		default:
			if err := pause(ctx, attempt, err); err != nil {
				return state, at, err
			}
		}
		if _, err := e.refresh(ctx, &l); err != nil {
			return state, at, err
		}
	}
}

// execution is a command that is executed on an aggregate.
type execution[S State[S, E], E any] struct {
	*Repository[S, E]
	id      string
	command Command[S, E]
	opts    *ExecuteOptions
}

// refresh brings a state up to date, and reports whether it was not.
func (e *execution[S, E]) refresh(ctx context.Context, l *loaded[S]) (changed bool, err error) {
	before := l.at.Position
	if err := e.update(ctx, e.id, l, 0); err != nil {
		return false, err
	}
	e.keep(e.id, l)
	return l.at.Position != before, nil
}

// decide lets the command decide on a loaded state and appends what it says. It
// returns the state after that, or the same one if that is nothing.
func (e *execution[S, E]) decide(ctx context.Context, l loaded[S]) (loaded[S], error) {
	events, err := e.command.Decide(l.state)
	if err != nil {
		return l, &RejectedError{Stream: e.stream(e.id), Version: l.at.Version, Err: err}
	}
	if len(events) == 0 {
		return l, nil
	}
	next, data := l, make([]eventstore.EventData, len(events))
	for i, event := range events {
		if data[i], event, err = e.encode(event); err != nil {
			return l, fmt.Errorf("%s: nothing stored: %w", e.stream(e.id), err)
		}
		next.state = next.state.Evolve(event)
	}
	at, err := e.store.Append(ctx, e.stream(e.id), l.at, data, &eventstore.AppendOptions{
		CommitID: e.opts.CommandID, Time: e.opts.Time, Metadata: e.opts.Metadata,
	})
	if err != nil || at.Replayed {
		next.at = at
		return next, err
	}
	next.note(eventstore.Event{Version: at.Version, Position: at.Position, CommitID: at.CommitID})
	next.move(at)
	return next, nil
}

// encode returns the stored form of an event, and the event as everybody will
// read it back: the state must be what a load returns.
func (e *execution[S, E]) encode(event E) (eventstore.EventData, E, error) {
	data, err := e.codec.Encode(event)
	if err != nil {
		return data, event, err
	}
	event, err = e.codec.Decode(eventstore.Event{EventData: data})
	return data, event, err
}

// answerAgain answers for a command whose commit ended at the given version.
func (e *execution[S, E]) answerAgain(ctx context.Context, l loaded[S], version uint64) (S, eventstore.Revision, error) {
	if version != l.at.Version {
		var err error
		if l, err = e.loadVersion(ctx, e.id, version); err != nil {
			return l.state, l.at, err
		}
	}
	l.at.Replayed = true
	return l.state, l.at, nil
}

// elsewhere returns the error for an aggregate that is not at the version which the
// command is for, unless the command itself is what came after that.
func (e *execution[S, E]) elsewhere(ctx context.Context, l loaded[S]) (state S, at eventstore.Revision, err error) {
	if e.opts.CommandID != "" && l.at.Version > e.opts.Version && !l.remembers(e.opts.Version) {
		version, err := e.appliedAfter(ctx, e.opts.Version)
		if err != nil {
			return state, at, err
		}
		if version > 0 {
			return e.answerAgain(ctx, l, version)
		}
	}
	return state, at, &eventstore.ConflictError{
		Stream: e.stream(e.id), Expected: eventstore.Version(e.opts.Version), Actual: l.at.Version,
	}
}

// appliedAfter returns the version after the command, if it is the commit that follows
// a version, and 0 if it is not.
func (e *execution[S, E]) appliedAfter(ctx context.Context, version uint64) (after uint64, err error) {
	for event, err := range e.store.Read(ctx, e.stream(e.id), &eventstore.ReadOptions{From: version + 1}) {
		if err != nil {
			return 0, err
		}
		if event.CommitID != e.opts.CommandID {
			break
		}
		after = event.Version
	}
	return after, nil
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
