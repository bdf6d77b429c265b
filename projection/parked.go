package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Parked is a stream of which a commit could not be handled. It waits, and so does
// every later commit of the stream.
type Parked struct {
	Stream   eventstore.StreamID
	Position uint64 // of the commit that could not be handled
	Version  uint64 // of the first event of that commit
	Reason   string // what the handler said
	Attempts int
	Since    time.Time
	Waiting  uint64 // commits, that one included
}

func (p parked) export(stream eventstore.StreamID) Parked {
	return Parked{stream, p.Position, p.Version, p.Reason, p.Attempts, p.Since, p.Waiting}
}

// Parked returns the streams that are parked in the live generation, in the order
// of their positions. It does not matter which process projects.
func (p *Projection[T]) Parked(ctx context.Context) ([]Parked, error) {
	now, ok, err := p.current(ctx)
	if err != nil || !ok {
		return nil, err
	}
	return p.parkedIn(ctx, now.Live)
}

func (p *Projection[T]) parkedIn(ctx context.Context, number uint64) (list []Parked, err error) {
	err = p.model.Records(ctx, p.name, func(r Records) error {
		all, err := listParked(r, number)
		list = nil
		for stream, one := range all {
			list = append(list, one.export(stream))
		}
		return err
	})
	slices.SortFunc(list, func(a, b Parked) int { return cmp.Compare(a.Position, b.Position) })
	return list, err
}

func listParked(r Records, number uint64) (map[eventstore.StreamID]parked, error) {
	prefix := parkedPrefix(number)
	raw, err := r.List(prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[eventstore.StreamID]parked, len(raw))
	for key, value := range raw {
		kind, id, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
		var p parked
		if err := parse(key, value, &p); err != nil {
			return nil, err
		}
		all[eventstore.StreamID{Kind: kind, ID: id}] = p
	}
	return all, nil
}

// Retry handles what waits of a parked stream, in its order. If all of it can be
// handled the stream is not parked any more; if not the error says at which commit
// it is now, and everything before that is handled. Without anything that waits
// the error matches [ErrNotParked].
func (p *Projection[T]) Retry(ctx context.Context, stream eventstore.StreamID) error {
	return p.unpark(ctx, stream, false)
}

// Discard leaves out the commit of a parked stream that could not be handled, and
// handles what waits behind it as [Projection.Retry] does. It is about the generation
// that is live: a rebuild comes to the commit again.
func (p *Projection[T]) Discard(ctx context.Context, stream eventstore.StreamID) error {
	return p.unpark(ctx, stream, true)
}

func (p *Projection[T]) unpark(ctx context.Context, stream eventstore.StreamID, skip bool) error {
	return p.again(ctx, func() error {
		defer p.monitor.moved()
		return p.unparkOnce(ctx, stream, skip)
	})
}

func (p *Projection[T]) unparkOnce(ctx context.Context, stream eventstore.StreamID, skip bool) error {
	now, ok, err := p.current(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return p.notParked(stream)
	}
	r, err := p.open(ctx, now.Live)
	if err != nil {
		return err
	}
	w := r.worker(stream)
	one, ok := w.parked[stream]
	if !ok {
		return p.notParked(stream)
	}
	batch, err := p.commitsOf(ctx, stream, one.Version, one.Last)
	if err != nil {
		return err
	}
	if len(batch) == 0 {
		return fmt.Errorf("projection %s: %s has no version %d any more: %w", p.name, stream, one.Version, eventstore.ErrCorrupt)
	}
	if skip {
		batch = batch[1:]
	}
	return w.release(ctx, stream, one, batch)
}

func (p *Projection[T]) notParked(stream eventstore.StreamID) error {
	return fmt.Errorf("projection %s: %s: %w", p.name, stream, ErrNotParked)
}

// commitsOf returns the commits of a stream from a version on up to a position.
func (p *Projection[T]) commitsOf(ctx context.Context, stream eventstore.StreamID, from, last uint64) (batch []eventstore.Delivery, err error) {
	for e, err := range p.store.Read(ctx, stream, &eventstore.ReadOptions{From: from}) {
		switch n := len(batch); {
		case err != nil:
			return nil, err
		case e.Position > last:
			return batch, nil
		case n > 0 && batch[n-1].Position == e.Position:
			batch[n-1].Events = append(batch[n-1].Events, e)
		default:
			batch = append(batch, eventstore.Delivery{Position: e.Position, Recorded: e.Recorded, Events: []eventstore.Event{e}})
		}
	}
	return batch, nil
}

// release handles the commits that wait of a stream: all of them, or if one fails in
// another transaction those before it.
func (w *worker[T]) release(ctx context.Context, stream eventstore.StreamID, one parked, batch []eventstore.Delivery) error {
	delete(w.parked, stream)
	var left *parked
	for n := len(batch); ; {
		err := w.replay(ctx, stream, batch[:n], left)
		var f *failure
		switch {
		case errors.As(err, &f):
			n = f.index
			left = w.stillParked(one, batch, f)
		case err != nil || left == nil:
			return err
		default:
			return &ParkedError{w.name, left.export(stream)}
		}
	}
}

// stillParked is what is left of a parked stream when another commit fails.
func (w *worker[T]) stillParked(one parked, batch []eventstore.Delivery, f *failure) *parked {
	d := batch[f.index]
	left := parked{
		Position: d.Position, Version: d.Events[0].Version, Reason: reason(f.err), Attempts: 1,
		Since: time.Now().UTC(), Last: one.Last, Waiting: uint64(len(batch) - f.index),
	}
	if d.Position == one.Position {
		left.Attempts, left.Since = one.Attempts+1, one.Since
	}
	return &left
}

// replay handles commits that the checkpoint has passed, in one transaction. What
// is parked of the stream is replaced. Whoever projects notices.
func (w *worker[T]) replay(ctx context.Context, stream eventstore.StreamID, batch []eventstore.Delivery, left *parked, before ...func(T) error) error {
	t, err := w.decode(batch)
	if err != nil {
		return err
	}
	next := w.held
	next.Changes++
	return w.model.Update(ctx, w.name, func(tx Tx[T]) error {
		if err := swap(tx, w.key, w.raw, encode(next)); err != nil {
			return err
		}
		var still []byte
		if left != nil {
			still = encode(left)
		}
		if err := tx.Put(parkedKey(w.number, stream), still); err != nil {
			return err
		}
		data, err := tx.Data(w.number)
		if err != nil {
			return err
		}
		for _, f := range before {
			if err := f(data); err != nil {
				return err
			}
		}
		return w.applyAll(ctx, data, t)
	})
}

// applyAll calls the handlers, however long it takes.
func (w *worker[T]) applyAll(ctx context.Context, data T, t *todo[T]) error {
	next := 0
	for i, d := range t.batch {
		for ; next < t.ends[i]; next++ {
			if err := w.call(ctx, t.calls[next], data, w.replaying(d)); err != nil {
				return &failure{i, err}
			}
		}
	}
	return nil
}

// RebuildStream removes from the live generation what the events of a stream made
// there, and handles them again up to the checkpoint, in one transaction. They are
// marked as replayed. The handlers need a [Forget] for it. If one cannot be handled the
// error is a [StoppedError], and nothing has changed.
func (p *Projection[T]) RebuildStream(ctx context.Context, stream eventstore.StreamID) error {
	forget := p.handlers[stream.Kind].forget
	if forget == nil {
		return p.invalid("stream "+stream.String(), "cannot be replayed for itself: the handlers of its kind do not know how to forget it, see projection.Forget")
	}
	return p.again(ctx, func() error {
		defer p.monitor.moved()
		return p.rebuildStream(ctx, stream, forget)
	})
}

func (p *Projection[T]) rebuildStream(ctx context.Context, stream eventstore.StreamID, forget func(context.Context, T, eventstore.StreamID) error) error {
	now, ok, err := p.current(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return p.noGeneration(1)
	}
	r, err := p.open(ctx, now.Live)
	if err != nil {
		return err
	}
	w := r.worker(stream)
	batch, err := p.commitsOf(ctx, stream, 1, w.held.Position)
	if err != nil {
		return err
	}
	batch = slices.DeleteFunc(batch, func(d eventstore.Delivery) bool { return d.Position <= now.Begin })
	if len(batch) == 0 {
		return p.invalid("stream "+stream.String(), "has no events between where the projection begins and its checkpoint")
	}
	delete(w.parked, stream)
	r.replayed = w.held.Position
	err = w.replay(ctx, stream, batch, nil, func(data T) (err error) {
		defer recovered(&err)
		return forget(ctx, data, stream)
	})
	var f *failure
	if errors.As(err, &f) {
		d := batch[f.index]
		return &StoppedError{p.name, stream, d.Events[0].Version, d.Position, 1, f.err}
	}
	return err
}
