package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// worker handles the commits of some streams, in their order.
type worker[T any] struct {
	*run[T]
	index  int
	key    string
	from   uint64     // position that it had handled when the run began
	held   checkpoint // as it is stored
	raw    []byte     // the same
	saved  time.Time
	parked map[eventstore.StreamID]parked
	calls  []call[T] // of a batch
	most   int       // commits in a transaction, as many as there is time for
	wake   chan struct{}
	room   chan struct{}

	// These are guarded by the run's mutex.
	handled mark
	waited  bool // for more
	queue   []eventstore.Delivery
	hand    []eventstore.Delivery
}

const (
	// A transaction handles no more commits after this time.
	batchTime = 250 * time.Millisecond
	// A checkpoint that only passed commits without handlers is stored so often.
	idleTime = time.Second
	// What is in the queue is handled after this time, though more are under way.
	soonTime = 2 * time.Millisecond
)

// work handles what is in the queue until there is no more, or something is odd.
// ctx ends when no more is to be begun, handling when what was begun is to end.
func (w *worker[T]) work(ctx, handling context.Context) error {
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	for {
		soon := w.take(ctx)
		for len(w.hand) > 0 && ctx.Err() == nil {
			if err := w.handle(ctx, handling); err != nil {
				return err
			}
		}
		ended := w.idle(ctx)
		if ended || time.Since(w.saved) >= idleTime {
			if err := w.save(handling); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		idle.Reset(idleTime)
		if soon {
			idle.Reset(soonTime)
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-idle.C:
			if soon {
				continue
			}
			w.progress()
			if err := w.stillHeld(handling); err != nil {
				return err
			}
		}
	}
}

// take takes the next batch from the queue. If that is a small one, and more are
// under way, it takes none, once.
func (w *worker[T]) take(ctx context.Context) (soon bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || len(w.hand) > 0 || len(w.queue) == 0 {
		return false
	}
	if !w.enough() && !w.waited && !w.ended {
		w.waited = true
		return true
	}
	w.waited = false
	n := min(len(w.queue), w.opts.Batch)
	w.hand, w.queue = w.queue[:n:n], w.queue[n:]
	signal(w.room)
	if len(w.queue) > 0 {
		signal(w.wake)
	}
	return false
}

// enough reports whether it is time to handle what is in the queue: it is enough for
// a transaction of its own, or the last there is. The run is locked.
func (w *worker[T]) enough() bool {
	const part = 4 // of the largest batch
	return len(w.queue) >= w.opts.Batch/part || w.dispatched.position >= w.source.Head()
}

// idle reports whether the work is done, and notes that everything is handled
// that has no handlers.
func (w *worker[T]) idle(ctx context.Context) (ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle := len(w.queue) == 0 && len(w.hand) == 0
	if idle {
		w.handled = w.dispatched
	}
	return idle && w.ended || ctx.Err() != nil
}

// save stores the checkpoint where only commits without handlers came after it.
func (w *worker[T]) save(ctx context.Context) error {
	w.saved = time.Now()
	w.mu.Lock()
	to := w.handled
	w.mu.Unlock()
	if to.position <= w.held.Position {
		return nil
	}
	next, raw := w.next(to)
	err := w.model.Update(ctx, w.name, func(tx Tx[T]) error { return swap(tx, w.key, w.raw, raw) })
	if err == nil {
		w.held, w.raw = next, raw
	}
	return err
}

// next is the checkpoint at a mark.
func (w *worker[T]) next(to mark) (checkpoint, []byte) {
	c := w.held
	c.Position, c.Recorded = to.position, to.recorded
	return c, encode(c)
}

// handle handles commits in hand, in one transaction, and drops them. It
// returns what ends the run.
func (w *worker[T]) handle(ctx, handling context.Context) error {
	batch := w.troubles.cut(w.number, w.hand[:min(len(w.hand), w.most)])
	if t := w.troubles.get(w.number, batch[0].Position); t.poison(w.opts.Attempts) {
		return w.poisoned(handling, batch[0], t)
	}
	done, events, err := w.commit(handling, batch)
	if err == nil {
		w.most = min(2*w.most, w.opts.Batch)
		if done < len(batch) {
			w.most = done
		}
		w.settle(done, events)
		w.troubles.over(w.number, batch[:done]...)
		return nil
	}
	if handling.Err() != nil {
		return context.Cause(ctx)
	}
	var f *failure
	if !errors.As(err, &f) {
		return err // the database, or a checkpoint that moved
	}
	return w.failed(ctx, handling, batch, f)
}

// settle notes that commits in hand are handled.
func (w *worker[T]) settle(n, events int) {
	w.mu.Lock()
	w.handled = w.after(n)
	w.hand = w.hand[n:]
	w.run.events += events
	w.mu.Unlock()
	w.progress()
}

// after is the mark after so many commits in hand. The run is locked.
func (w *worker[T]) after(n int) mark {
	if n == len(w.hand) && len(w.queue) == 0 {
		return w.dispatched
	}
	last := w.hand[n-1]
	return mark{last.Position, last.Recorded}
}

// failure is a commit that could not be handled.
type failure struct {
	index int // in the batch
	err   error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// commit handles commits in a transaction: all of them, or as many as there was
// time for. Of those handlers that change nothing no transaction is made.
func (w *worker[T]) commit(ctx context.Context, batch []eventstore.Delivery) (done, events int, err error) {
	start := time.Now()
	todo, err := w.decode(batch)
	if err == nil && todo.nothing() {
		return len(batch), 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	var next checkpoint
	var raw []byte
	err = w.model.Update(ctx, w.name, func(tx Tx[T]) error {
		now, err := tx.Get(w.key)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, w.raw) {
			return errMoved
		}
		if done, events, err = w.apply(ctx, tx, todo, start); err != nil {
			return err
		}
		next, raw = w.next(w.markOf(batch, done))
		return tx.Put(w.key, raw)
	})
	if err != nil {
		return 0, 0, err
	}
	w.held, w.raw, w.saved = next, raw, time.Now()
	for _, p := range todo.waiting {
		w.keepParked(p.stream, p.parked)
	}
	if w.opts.Hooks.Batch != nil {
		w.opts.Hooks.Batch(Batch{w.name, w.number, done, events, next.Position, time.Since(start)})
	}
	return done, events, nil
}

func (w *worker[T]) markOf(batch []eventstore.Delivery, n int) mark {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n == len(w.hand) {
		return w.after(n)
	}
	last := batch[n-1]
	return mark{last.Position, last.Recorded}
}

// failed decides what to do about a commit that could not be handled: to try again
// later, first what is before it in a transaction of its own, or that it is
// poison. It returns what ends the run.
func (w *worker[T]) failed(ctx, handling context.Context, batch []eventstore.Delivery, f *failure) error {
	d := batch[f.index]
	moved := w.stillHeld(handling)
	if moved != nil && !errors.Is(moved, errMoved) {
		return moved // it is the database that fails
	}
	if f.index > 0 {
		w.troubles.suspect(w.number, d.Position)
		return moved
	}
	t := w.troubles.failed(w.number, d.Position, f.err)
	if moved != nil {
		return moved
	}
	if t.poison(w.opts.Attempts) {
		return w.poisoned(handling, d, t)
	}
	w.monitor.failed(w.report(d, t))
	if w.live {
		w.behind(handling)
		w.monitor.trouble(fmt.Errorf("position %d, %s, attempt %d: %w", d.Position, d.Events[0].Stream, t.tries, f.err))
		defer w.monitor.trouble(nil)
	}
	pause(ctx, t.tries)
	return nil
}

// behind looks how far behind the projection is, which reads nothing more once a queue is
// full.
func (w *worker[T]) behind(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, idleTime)
	defer cancel()
	w.progress()
	if last, err := w.store.Position(ctx); err == nil {
		w.monitor.atLeast(last)
	}
}

func (w *worker[T]) report(d eventstore.Delivery, t trouble) Failure {
	return Failure{Projection: w.name, Generation: w.number, Stream: d.Events[0].Stream, Position: d.Position, Attempt: t.tries, Err: t.err}
}

// poisoned stops at a commit that cannot be handled, or parks it.
func (w *worker[T]) poisoned(ctx context.Context, d eventstore.Delivery, t trouble) error {
	report := w.report(d, t)
	// It is tried from the beginning if the projection runs again, or the database
	// fails now, which may have been the trouble all the time.
	w.troubles.over(w.number, d)
	if w.poison == Stop {
		w.monitor.failed(report)
		return &StoppedError{w.name, report.Stream, d.Events[0].Version, d.Position, t.attempts, t.err}
	}
	if err := w.park(ctx, d, t.attempts, t.err); err != nil {
		return err
	}
	report.Parked = true
	w.monitor.failed(report)
	w.settle(1, 0)
	return nil
}

// stillHeld reports an error if the database does not answer, or the checkpoint is
// not where it was: a model in memory goes back to what is on the disk when a
// handler fails.
func (w *worker[T]) stillHeld(ctx context.Context) error {
	return w.model.Records(ctx, w.name, func(r Records) error {
		now, err := r.Get(w.key)
		if err == nil && !bytes.Equal(now, w.raw) {
			err = errMoved
		}
		return err
	})
}

// park puts a commit aside.
func (w *worker[T]) park(ctx context.Context, d eventstore.Delivery, attempts int, why error) error {
	e := d.Events[0]
	p := parked{
		Position: d.Position, Version: e.Version, Reason: reason(why), Attempts: attempts,
		Since: time.Now().UTC(), Last: d.Position, Waiting: 1,
	}
	next, raw := w.next(mark{d.Position, d.Recorded})
	err := w.model.Update(ctx, w.name, func(tx Tx[T]) error {
		if err := swap(tx, w.key, w.raw, raw); err != nil {
			return err
		}
		return save(tx, parkedKey(w.number, e.Stream), p)
	})
	if err != nil {
		return err
	}
	w.held, w.raw = next, raw
	w.keepParked(e.Stream, p)
	return nil
}

func (w *worker[T]) keepParked(stream eventstore.StreamID, p parked) {
	w.parked[stream] = p
	if w.live {
		w.monitor.change(func(m *monitor) { m.parked[stream] = p })
	}
}
