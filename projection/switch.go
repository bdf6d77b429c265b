package projection

import (
	"context"
	"errors"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// replace lets the new generation take the place of the live one, if it can be
// brought to where that is in one transaction.
func (b *rebuild[T]) replace(ctx context.Context, now current, r *run[T]) (over bool, err error) {
	at := lowest(r.checkpoints())
	ahead, err := b.ahead(ctx, at)
	if err != nil {
		return false, err
	}
	err = b.model.Update(ctx, b.name, func(tx Tx[T]) error {
		next := now.master
		next.Live = b.number
		if err := swap(tx, masterKey, now.raw, encode(next)); err != nil {
			return err
		}
		live, err := retire(tx, now.Live, b.opts.Keep)
		if err != nil {
			return err
		}
		if r.skipped, err = listParked(tx, now.Live); err != nil {
			return err
		}
		reached := lowest(live).Position
		r.replayed, r.workedTo = max(r.replayed, reached), live
		if err := b.catchUp(ctx, tx, r, b.goals(r, at, live), ahead); err != nil {
			return err
		}
		g, _, err := load[generation](tx, generationKey(b.number))
		if err != nil {
			return err
		}
		g.Building, g.Replayed = false, max(g.Replayed, now.Replayed, reached)
		if err := save(tx, generationKey(b.number), g); err != nil {
			return err
		}
		return tx.Show(b.number)
	})
	var f *failure
	switch {
	case errors.Is(err, errBehind) || errors.As(err, &f):
		return false, nil // by the usual way
	case err != nil:
		return false, err
	}
	b.monitor.moved()
	b.done.Position = max(b.done.Position, lowest(r.checkpoints()).Position)
	b.done.Parked, err = b.parkedIn(ctx, b.number)
	_ = b.tidy(ctx) // or the next run does
	return true, err
}

// errBehind ends a transaction in which a new generation cannot be brought to
// where the live one is.
var errBehind = errors.New("the live generation is ahead")

// ahead reads the commits after a place, not too many for one transaction.
func (b *rebuild[T]) ahead(ctx context.Context, at checkpoint) (batch []eventstore.Delivery, err error) {
	last, err := b.store.Position(ctx)
	if err != nil || last <= at.Position {
		return nil, err
	}
	source, err := b.store.Consume(ctx, "", at.Position, &eventstore.ConsumerOptions{Kinds: b.kinds, Recorded: at.Recorded})
	if err != nil {
		return nil, err
	}
	defer source.Close()
	last = min(last, at.Position+uint64(2*b.Projection.opts.Batch))
	for position := at.Position; position < last; {
		d, err := source.Next(ctx)
		if err != nil {
			return nil, err
		}
		batch, position = append(batch, d), d.Position
	}
	return batch, nil
}

// goals returns where each worker of the new generation has to be: where that of the
// live one is that handled the same streams or, if there is another number of workers,
// where all of those are.
func (b *rebuild[T]) goals(r *run[T], at checkpoint, live []checkpoint) []checkpoint {
	goals := make([]checkpoint, len(r.workers))
	for i := range goals {
		goals[i] = lowest(live)
		if len(live) == len(goals) {
			goals[i] = live[i]
		}
		if b.lost || goals[i].Position < at.Position {
			goals[i] = at
		}
		goals[i].Changes, goals[i].Retired = r.workers[i].held.Changes, false
	}
	return goals
}

// catchUp handles the commits up to where the workers have to be, if they are at
// hand.
func (b *rebuild[T]) catchUp(ctx context.Context, tx Tx[T], r *run[T], goals []checkpoint, ahead []eventstore.Delivery) error {
	start := lowest(r.checkpoints())
	if start.Position+uint64(len(ahead)) < highest(goals).Position {
		return errBehind
	}
	for _, d := range ahead {
		if len(d.Events) == 0 {
			continue
		}
		w := r.worker(d.Events[0].Stream)
		if d.Position > goals[w.index].Position {
			continue
		}
		t, err := w.decode([]eventstore.Delivery{d})
		if err != nil {
			return err
		}
		if _, _, err := w.apply(ctx, tx, t, time.Now()); err != nil {
			return err
		}
		for _, p := range t.waiting {
			w.parked[p.stream] = p.parked
		}
	}
	for i, w := range r.workers {
		if n := goals[i].Position - start.Position; n > 0 { // the log may have another history now
			goals[i].Recorded = ahead[n-1].Recorded
		} else {
			goals[i].Recorded = start.Recorded
		}
		if err := swap(tx, w.key, w.raw, encode(goals[i])); err != nil {
			return err
		}
		w.held = goals[i]
	}
	return nil
}

// retire ends what is projected to a generation, and returns where its workers are.
func retire[T any](tx Tx[T], number uint64, keep bool) ([]checkpoint, error) {
	g, ok, err := load[generation](tx, generationKey(number))
	if err != nil || !ok {
		return nil, errors.Join(err, errMoved)
	}
	all, err := loadCheckpoints(tx, number, g.Workers)
	if err != nil {
		return nil, err
	}
	for i, c := range all {
		c.Retired = true
		if err := save(tx, checkpointKey(number, i), c); err != nil {
			return nil, err
		}
	}
	g.Kept = keep
	return all, save(tx, generationKey(number), g)
}

// keep ends the building of a generation that stays beside the live one.
func (b *rebuild[T]) keep(ctx context.Context) error {
	return b.model.Update(ctx, b.name, func(tx Tx[T]) error {
		g, ok, err := load[generation](tx, generationKey(b.number))
		if err != nil || !ok {
			return errors.Join(err, ErrNoGeneration)
		}
		g.Building, g.Kept = false, true
		return save(tx, generationKey(b.number), g)
	})
}
