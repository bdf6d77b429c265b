package projection

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"golang.org/x/time/rate"
)

// run projects the log to one generation, for as long as nothing is odd. One
// goroutine reads, and hands the commits that have handlers to workers, those of
// each stream to the same one.
type run[T any] struct {
	*Projection[T]
	number   uint64 // of the generation
	source   *eventstore.Consumer
	workers  []*worker[T]
	until    uint64                         // position to stop after
	replayed uint64                         // up to there another generation had handled the log
	skipped  map[eventstore.StreamID]parked // but for what it had parked
	workedTo []checkpoint                   // and its workers, if there are as many, up to there
	limiter  *rate.Limiter                  // nil: no limit
	live     bool                           // the monitor is told
	poison   Poison
	tell     func(uint64) // the position that is reached; nil: nobody is

	telling    sync.Mutex
	mu         sync.Mutex
	dispatched mark   // everything up to there is handled, or in a queue
	ended      bool   // and there is no more
	events     int    // that were handled
	told       uint64 // the position that the server was told last
	toldAt     time.Time
}

// mark is a place in the log.
type mark struct {
	position uint64
	recorded time.Time
}

const endless = ^uint64(0)

// open returns a run of a generation from where it stands.
func (p *Projection[T]) open(ctx context.Context, number uint64) (*run[T], error) {
	r := &run[T]{Projection: p, number: number, until: endless, poison: p.opts.Poison}
	err := p.model.Records(ctx, p.name, func(records Records) error {
		g, ok, err := load[generation](records, generationKey(number))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("projection %s: generation %d: %w", p.name, number, ErrNoGeneration)
		}
		r.replayed = g.Replayed
		for i := range g.Workers {
			w, err := r.newWorker(records, i)
			if err != nil {
				return err
			}
			r.workers = append(r.workers, w)
		}
		return r.loadParked(records)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *run[T]) newWorker(records Records, i int) (*worker[T], error) {
	key := checkpointKey(r.number, i)
	raw, err := records.Get(key)
	if err != nil {
		return nil, err
	}
	w := &worker[T]{run: r, index: i, key: key, most: r.opts.Batch, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), parked: make(map[eventstore.StreamID]parked)}
	if err := parse(key, raw, &w.held); err != nil {
		return nil, err
	}
	if w.held.Retired {
		return nil, errMoved
	}
	w.raw, w.from, w.saved = raw, w.held.Position, time.Now()
	w.handled = mark{w.held.Position, w.held.Recorded}
	return w, nil
}

func (r *run[T]) loadParked(records Records) error {
	all, err := listParked(records, r.number)
	for stream, p := range all {
		r.worker(stream).parked[stream] = p
	}
	return err
}

// allParked returns the streams that are parked.
func (r *run[T]) allParked() map[eventstore.StreamID]parked {
	all := make(map[eventstore.StreamID]parked)
	for _, w := range r.workers {
		maps.Copy(all, w.parked)
	}
	return all
}

// checkpoints returns where the workers are.
func (r *run[T]) checkpoints() []checkpoint {
	all := make([]checkpoint, len(r.workers))
	for i, w := range r.workers {
		all[i] = w.held
	}
	return all
}

// worker returns who handles a stream. It is part of what is stored: workers skip
// what they had handled before.
func (r *run[T]) worker(stream eventstore.StreamID) *worker[T] {
	if len(r.workers) == 1 {
		return r.workers[0]
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream.Kind))
	_, _ = h.Write([]byte{'/'})
	_, _ = h.Write([]byte(stream.ID))
	return r.workers[h.Sum64()%uint64(len(r.workers))]
}

// do projects until the position to stop after is handled, or something is odd,
// which it returns, or the context ends. Then what is in hand is finished.
func (r *run[T]) do(ctx context.Context, source *eventstore.Consumer) error {
	r.source = source
	low := lowest(r.checkpoints())
	r.dispatched = mark{low.Position, low.Recorded}
	r.progress()
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	handling, release := lasting(ctx, r.opts.Drain)
	defer release()
	var working sync.WaitGroup
	for _, w := range r.workers {
		working.Go(func() {
			if err := w.work(reading, handling); err != nil {
				stop(err)
			}
		})
	}
	if err := r.dispatch(reading); err != nil {
		stop(err)
	}
	r.end()
	working.Wait()
	return context.Cause(reading)
}

// lasting returns a context that ends some time after ctx.
func lasting(ctx context.Context, drain time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(drain):
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// dispatch reads until the position to stop after.
func (r *run[T]) dispatch(ctx context.Context) error {
	for r.dispatched.position < r.until {
		d, err := r.source.Next(ctx)
		if err != nil {
			return err
		}
		if d.Position != r.dispatched.position+1 {
			return fmt.Errorf("%w: position %d came after %d", eventstore.ErrUnavailable, d.Position, r.dispatched.position)
		}
		if r.limiter != nil {
			if err := r.limiter.Wait(ctx); err != nil {
				return err
			}
		}
		if err := r.push(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// push gives a commit to its worker, if one is to handle it.
func (r *run[T]) push(ctx context.Context, d eventstore.Delivery) error {
	var w *worker[T]
	if len(d.Events) > 0 {
		if w = r.worker(d.Events[0].Stream); d.Position <= w.from {
			w = nil
		}
	}
	r.mu.Lock()
	for w != nil && len(w.queue) >= 2*r.opts.Batch {
		r.mu.Unlock()
		select {
		case <-w.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.mu.Lock()
	}
	r.dispatched = mark{d.Position, d.Recorded}
	if w != nil {
		w.queue = append(w.queue, d)
		if len(w.queue) == 1 || w.enough() {
			signal(w.wake)
		}
		first := len(w.queue) == 1 && len(w.hand) == 0
		r.mu.Unlock()
		if first {
			r.begun()
		}
		return nil
	}
	r.mu.Unlock()
	r.progress()
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// end says that nothing more will be pushed.
func (r *run[T]) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	for _, w := range r.workers {
		signal(w.wake)
	}
}

// reached returns up to where everything is handled, and when the first commit
// was stored that is not.
func (r *run[T]) reached() (position uint64, oldest time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	position = r.dispatched.position
	for _, w := range r.workers {
		first := w.hand
		if len(first) == 0 {
			first = w.queue
		}
		if len(first) > 0 && first[0].Position <= position {
			position, oldest = first[0].Position-1, first[0].Recorded
		}
	}
	return position, oldest
}

// replaying reports whether another generation had handled a commit.
func (r *run[T]) replaying(d eventstore.Delivery) bool {
	stream, to := d.Events[0].Stream, r.replayed
	if len(r.workedTo) == len(r.workers) {
		to = max(to, r.workedTo[r.worker(stream).index].Position)
	}
	p, parked := r.skipped[stream]
	return d.Position <= to && !(parked && p.Position <= d.Position)
}

// progress tells everybody how far it is. What one tells is not overtaken by what
// another has seen before.
func (r *run[T]) progress() {
	r.telling.Lock()
	defer r.telling.Unlock()
	position, oldest := r.reached()
	if r.live {
		if head := r.source.Head(); r.tellServer(position, head) {
			r.source.Done(position)
		}
		r.monitor.reached(position, r.source.Head(), oldest, uint64(10*r.opts.Batch))
	}
	if r.tell != nil {
		r.tell(position)
	}
}

// begun tells since when something is in hand: its handler may hang, and then nobody
// tells anything more.
func (r *run[T]) begun() {
	if !r.live {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	_, oldest := r.reached()
	r.monitor.begun(r.source.Head(), oldest)
}

// tellServer reports whether it is time for the server to know how far it is.
func (r *run[T]) tellServer(position, head uint64) bool {
	const some, sometimes = 250, 100 * time.Millisecond
	r.mu.Lock()
	defer r.mu.Unlock()
	if position < head && position < r.told+some && time.Since(r.toldAt) < sometimes {
		return false
	}
	r.told, r.toldAt = position, time.Now()
	return true
}

// final reports whether trying again makes no sense.
func final(err error) bool {
	return errors.Is(err, ErrStopped) || errors.Is(err, ErrOtherLog) || errors.Is(err, ErrDamaged) ||
		errors.Is(err, errDamagedRecord) || errors.Is(err, eventstore.ErrCorrupt) || errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrTooLarge) || errors.Is(err, eventstore.ErrDenied)
}
