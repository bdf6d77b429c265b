package projection

import (
	"context"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// todo is what a batch comes to.
type todo[T any] struct {
	batch   []eventstore.Delivery
	calls   []call[T]
	ends    []int // of each commit's calls
	waiting []waiting
}

// waiting is a commit that waits behind a parked one.
type waiting struct {
	index  int
	stream eventstore.StreamID
	parked parked
}

func (t *todo[T]) nothing() bool { return len(t.calls) == 0 && len(t.waiting) == 0 }

// decode finds out what is to be done for a batch.
func (w *worker[T]) decode(batch []eventstore.Delivery) (*todo[T], error) {
	t := &todo[T]{batch: batch, calls: w.calls[:0], ends: make([]int, len(batch))}
	behind := make(map[eventstore.StreamID]int)
	for i, d := range batch {
		stream := d.Events[0].Stream
		if p, ok := w.parked[stream]; ok {
			if at, again := behind[stream]; again {
				p = t.waiting[at].parked
			}
			p.Waiting, p.Last = p.Waiting+1, d.Position
			behind[stream] = len(t.waiting)
			t.waiting = append(t.waiting, waiting{i, stream, p})
		} else {
			var err error
			if t.calls, err = w.handlers[stream.Kind].calls(t.calls, d.Events, w.opts.Unknown); err != nil {
				return nil, &failure{i, err}
			}
		}
		t.ends[i] = len(t.calls)
	}
	w.calls = t.calls
	return t, nil
}

// apply calls the handlers.
func (w *worker[T]) apply(ctx context.Context, tx Tx[T], t *todo[T], start time.Time) (done, events int, err error) {
	data, err := tx.Data(w.number)
	if err != nil {
		return 0, 0, err
	}
	next, waits := 0, 0
	for i, d := range t.batch {
		for ; next < t.ends[i]; next++ {
			if err := w.call(ctx, t.calls[next], data, w.replaying(d)); err != nil {
				if i > 0 && w.traits.Outside {
					t.waiting = t.waiting[:waits]
					return i, events, nil // what is done stays done
				}
				return 0, 0, &failure{i, err}
			}
			events++
		}
		for ; waits < len(t.waiting) && t.waiting[waits].index == i; waits++ {
			p := t.waiting[waits]
			if err := save(tx, parkedKey(w.number, p.stream), p.parked); err != nil {
				return 0, 0, err
			}
		}
		if done = i + 1; time.Since(start) > batchTime {
			break
		}
	}
	t.waiting = t.waiting[:waits]
	return done, events, nil
}

// call calls a handler. Where its effect may be a command, what that appends says
// which event it is because of.
func (w *worker[T]) call(ctx context.Context, c call[T], data T, replaying bool) error {
	at := Event{Event: *c.stored, Generation: w.number, Replaying: replaying}
	if w.traits.Outside {
		ctx = eventstore.CausedBy(ctx, at.Event)
	}
	if w.opts.Around == nil {
		return c.do(ctx, data, at)
	}
	return w.around(ctx, c, data, at)
}

// around lets the program do something before and after a handler.
func (w *worker[T]) around(ctx context.Context, c call[T], data T, at Event) (err error) {
	defer recovered(&err)
	called := false
	err = w.opts.Around(ctx, at, func(ctx context.Context) error {
		called = true
		return c.do(ctx, data, at)
	})
	if err == nil && !called {
		return w.invalid("Around", "it returned no error and did not call next")
	}
	return err
}
