package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// glance is how often the read model is looked at if another process projects, or
// none.
const glance = 25 * time.Millisecond

// Wait waits until a commit is in the read model that readers see: one that this
// process wrote, for example, by the revision it was told. A commit that all have
// handled before is there at once.
//
// If the commit is parked the error is a [ParkedError]; if the projection stopped
// in this process, why; and if the context ends before, a [BehindError], which says
// how far it is.
func (p *Projection[T]) Wait(ctx context.Context, at eventstore.Revision) error {
	m := p.monitor
	m.wait(1)
	defer m.wait(-1)
	for {
		status, follows, changed, err := m.look(at)
		trouble := status.Err
		if !follows {
			var wrong error
			if status.Position, err, wrong = p.look(ctx, at); wrong != nil && ctx.Err() == nil {
				trouble = wrong
			}
		}
		switch {
		case status.Position >= at.Position:
			return err
		case status.State == Stopped && status.Err != nil:
			return status.Err
		case ctx.Err() != nil:
			return &BehindError{p.name, at.Position, status.Position, errors.Join(ctx.Err(), trouble)}
		}
		var again <-chan time.Time
		if !follows {
			again = time.After(glance)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// CatchUp brings the read model to where the log ends now, and returns. Its errors are
// those of [Projection.Run], and a [BehindError] if the context ends before. What is
// parked on the way is no error.
func (p *Projection[T]) CatchUp(ctx context.Context) error {
	last, err := p.store.Position(ctx)
	if err != nil {
		return fmt.Errorf("projection %s: %w", p.name, err)
	}
	release, err := p.hold()
	if err != nil {
		return err
	}
	defer release()
	running, stop := context.WithCancelCause(ctx)
	done := make(chan error, 1)
	go func() {
		err := p.run(running)
		stop(err) // it may have ended by itself
		done <- err
	}()
	waited := p.Wait(running, eventstore.Revision{Position: last})
	stop(nil)
	if err := <-done; err != nil {
		return err
	}
	if errors.Is(waited, ErrParked) {
		return nil
	}
	return waited
}

func (m *monitor) wait(n int) {
	m.mu.Lock()
	m.waiters += n
	m.mu.Unlock()
}

// look returns how it is, a channel that is closed when that changes, and an error
// if the commit is parked.
func (m *monitor) look(at eventstore.Revision) (status Status, follows bool, changed <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now(), m.follows, m.changed, findParked(m.status.Projection, m.parked, at)
}

// look returns how far the read model is as its database says, and an error if the
// commit is parked.
func (p *Projection[T]) look(ctx context.Context, at eventstore.Revision) (position uint64, parked, wrong error) {
	now, ok, err := p.current(ctx)
	if err != nil || !ok {
		return 0, nil, err
	}
	wrong = p.model.Records(ctx, p.name, func(r Records) error {
		checkpoints, err := loadCheckpoints(r, now.Live, now.Workers)
		if err != nil {
			return err
		}
		position = lowest(checkpoints).Position
		if position < at.Position {
			return nil
		}
		all, err := listParked(r, now.Live)
		parked = findParked(p.name, all, at)
		return err
	})
	return position, parked, wrong
}

// findParked returns an error if a commit is among those that are parked. Of a
// revision that does not say its stream only the position counts.
func findParked(projection string, all map[eventstore.StreamID]parked, at eventstore.Revision) error {
	for stream, p := range all {
		of, known := at.Stream()
		if p.Position <= at.Position && at.Position <= p.Last && (!known || of == stream) {
			return &ParkedError{projection, p.export(stream)}
		}
	}
	return nil
}
