package aggregate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/state"
	"github.com/headwater-go/headwater/snapshot"
)

// Store is what a repository needs of a log: an [eventstore.Store], or what
// wraps or replaces one and does the same. Package eventstore/storetest tests
// that it does. If it has a method Identity as that one does, snapshots of other
// logs are told apart by it.
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

	states    *states[S]
	commands  turns
	loads     turns
	snapshots *snapshot.Store // nil: none
	policy    snapshot.Policy
	began     time.Time
	log       string // its identity, where it has one
	schema    string
	pace      pace
	stats     stats
}

// Options are what a repository may be made with. The zero value of each field
// is its default.
type Options struct {
	// Attempts is how often a command decides before a conflict with other
	// writers is returned; default 10.
	Attempts int
	// Cache is how many aggregates' states are kept in memory, those used last;
	// default 10,000, and a negative number for none.
	Cache int
	// Snapshots is where states are kept on the disk, so that a load reads only
	// the events after one. The repository does not close it. Default: nowhere.
	Snapshots *snapshot.Store
	// Policy says when to take a snapshot, after a load or an append; default:
	// [snapshot.Every] 100 events.
	Policy snapshot.Policy
	// Schema names the way in which the state is folded, and is kept with
	// snapshots. Change it, to "2" for example, when Evolve or the codec makes
	// another state of the same events: older snapshots are not used then. That
	// the fields of the state's type change is noticed without.
	Schema string
}

// NewRepository returns the repository of the aggregates of a kind, such as
// "order", in a log. S is the state, and codec knows its events.
func NewRepository[S State[S, E], E any](store Store, kind string, codec eventstore.Codec[E], opts *Options) *Repository[S, E] {
	if opts == nil {
		opts = &Options{}
	}
	r := &Repository[S, E]{
		store: store, kind: kind, codec: codec, attempts: opts.Attempts, states: newStates[S](opts.Cache),
		snapshots: opts.Snapshots, policy: opts.Policy, schema: state.Schema[S](opts.Schema), began: time.Now(),
	}
	if r.attempts <= 0 {
		r.attempts = 10
	}
	if r.policy == nil {
		r.policy = snapshot.Every(100)
	}
	if s, ok := store.(interface{ Identity() string }); ok {
		r.log = s.Identity()
	}
	return r
}

// Load returns the state of an aggregate and the revision of its stream: the
// zero value of both if it has no events. It sees every commit that was
// acknowledged before, as [eventstore.Store.Read] says. The state is shared with
// others who load it: read it, do not change what it holds.
//
// An error is one that [eventstore.Store.Read] yields or the codec returns;
// state and revision are zero then too.
func (r *Repository[S, E]) Load(ctx context.Context, id string) (S, eventstore.Revision, error) {
	l, err := r.load(ctx, id)
	if err != nil {
		var zero S
		return zero, eventstore.Revision{}, err
	}
	return l.state, l.at, nil
}

// Cached returns the state of an aggregate that is in memory, if one is, without
// asking the log, which may have newer events. It takes well under a
// microsecond.
func (r *Repository[S, E]) Cached(id string) (S, eventstore.Revision, bool) {
	l, ok := r.states.get(id)
	return l.state, l.at, ok
}

// LoadVersion returns the state that an aggregate had after the event of the
// given version, or its last state if it has not come that far. The revision
// is that of the commit which holds the version; what its Version is where the
// store is another one, [eventstore.Event.Revision] says. Version 0 is the zero state.
// A version that is in memory is returned without asking the log; others are
// read from a snapshot before them, or from the beginning.
// Errors are those of Load.
func (r *Repository[S, E]) LoadVersion(ctx context.Context, id string, version uint64) (S, eventstore.Revision, error) {
	l, err := r.loadVersion(ctx, id, version)
	if err != nil {
		var zero S
		return zero, eventstore.Revision{}, err
	}
	return l.state, l.at, nil
}

func (r *Repository[S, E]) loadVersion(ctx context.Context, id string, version uint64) (loaded[S], error) {
	if version == 0 {
		return loaded[S]{}, nil
	}
	l, cached := r.states.get(id)
	if cached && l.at.Version == version {
		return l, nil
	}
	if !cached || l.at.Version > version {
		l = r.recall(ctx, id)
	}
	// That a snapshot is of the log's history, the event after it tells.
	if l.at.Version >= version {
		l = loaded[S]{}
	}
	err := r.update(ctx, id, &l, version)
	return l, err
}

func (r *Repository[S, E]) load(ctx context.Context, id string) (loaded[S], error) {
	_, cached := r.states.get(id)
	if !cached && r.states.lru != nil {
		// Of many who load it for the first time one reads it all.
		leave, waited, err := r.loads.take(ctx, id)
		if err != nil {
			return loaded[S]{}, fmt.Errorf("%s: waiting for another load: %w", r.stream(id), err)
		}
		if waited {
			leave()
		} else {
			defer leave()
		}
	}
	return r.rehydrate(ctx, id)
}

// rehydrate brings what is known of an aggregate up to date.
func (r *Repository[S, E]) rehydrate(ctx context.Context, id string) (loaded[S], error) {
	l, cached := r.states.get(id)
	if !cached {
		l = r.recall(ctx, id)
	}
	if err := r.update(ctx, id, &l, 0); err != nil {
		return l, err
	}
	switch {
	case cached:
		r.stats.cache.Add(1)
	case l.saved > 0:
		r.stats.snapshot.Add(1)
	default:
		r.stats.log.Add(1)
	}
	r.keep(id, &l)
	return l, nil
}

// recall returns what the aggregate's snapshot holds, if it has one.
func (r *Repository[S, E]) recall(ctx context.Context, id string) (l loaded[S]) {
	if r.snapshots == nil {
		return l
	}
	snap, ok := r.snapshots.Load(ctx, r.stream(id), r.log, r.schema)
	if !ok {
		return l
	}
	decoded, err := state.Decode[S](snap.State)
	if err != nil {
		r.snapshots.Discard(snap, err)
		return l
	}
	snap.State = nil
	return loaded[S]{state: decoded, at: snap.At, applied: commitsOf(snap.Applied), saved: snap.At.Version, from: &snap}
}

// update brings a state up to date, or up to a version where one is given. A
// snapshot that the log does not go on from was none.
func (r *Repository[S, E]) update(ctx context.Context, id string, l *loaded[S], to uint64) error {
	start, before := time.Now(), l.at.Version
	snap := l.from
	err := r.forward(ctx, id, l, to)
	if snap != nil && (errors.Is(err, eventstore.ErrCorrupt) || errors.Is(err, eventstore.ErrInvalid)) {
		*l, before = loaded[S]{}, 0
		wrong := err
		if err = r.forward(ctx, id, l, to); err == nil {
			r.snapshots.Discard(*snap, wrong)
		}
	}
	l.from = nil
	if events := l.at.Version - before; err == nil && events > 0 {
		r.pace.measured(events, time.Since(start))
	}
	return err
}

// forward folds what the log has after l, up to a version where one is given.
// After an error l is of no use.
func (r *Repository[S, E]) forward(ctx context.Context, id string, l *loaded[S], to uint64) error {
	// What was saved since the repository began, this process saw in the log.
	recalled := l.from != nil && l.from.Taken.Before(r.began)
	var last eventstore.Event
	for e, err := range r.store.Read(ctx, r.stream(id), &eventstore.ReadOptions{After: l.at, Recalled: recalled, To: to}) {
		if err != nil {
			return err
		}
		event, err := r.codec.Decode(e)
		if err != nil {
			return err
		}
		l.state = l.state.Evolve(event)
		l.note(e)
		last = e
	}
	if last.Version > 0 {
		l.move(last.Revision())
	}
	return nil
}

// keep keeps a state in memory, and on the disk if it is time.
func (r *Repository[S, E]) keep(id string, l *loaded[S]) {
	if l.at.Version == 0 {
		return
	}
	if events := l.at.Version - l.saved; r.snapshots != nil && events > 0 && r.policy(snapshot.Progress{
		Stream: r.stream(id), Version: l.at.Version, Events: events, Cost: r.pace.estimate(events),
	}) {
		l.saved = l.at.Version
		current := l.state
		r.snapshots.Save(snapshot.Snapshot{
			Stream: r.stream(id), Log: r.log, Schema: r.schema, At: l.at, Applied: l.applied.last(remembered),
		}, func() ([]byte, error) { return state.Encode(current) })
	}
	r.states.put(id, *l)
}

func (r *Repository[S, E]) stream(id string) eventstore.StreamID {
	return eventstore.StreamID{Kind: r.kind, ID: id}
}

// Stats are counts since the repository was made: where states came from, for
// loads and commands, and how often another writer was faster.
type Stats struct {
	FromCache    uint64
	FromSnapshot uint64
	FromLog      uint64 // the whole history, or there was none
	Conflicts    uint64
}

type stats struct{ cache, snapshot, log, conflicts atomic.Uint64 }

// Stats returns the counts so far.
func (r *Repository[S, E]) Stats() Stats {
	return Stats{r.stats.cache.Load(), r.stats.snapshot.Load(), r.stats.log.Load(), r.stats.conflicts.Load()}
}
