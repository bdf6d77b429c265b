package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RebuildOptions are what a rebuild may be made with. The zero value of each field
// is its default.
type RebuildOptions struct {
	// To is the position to end after. The new generation then stays beside the
	// live one, for whoever wants to look at it, until it is shown or removed.
	// Default: where the live one is, which it replaces.
	To uint64
	// DryRun builds a new generation and removes it: to see whether that can be
	// done, and how long it takes. What cannot be handled is parked, not stopped
	// at, and returned.
	DryRun bool
	// Keep keeps the generation that was live before, so that it can be shown
	// again.
	Keep bool
	// Restart begins anew, and removes what a rebuild before that came to no end
	// has done. Default: go on from there.
	Restart bool
	// Throttle is how many commits a second are read at most; default: no limit.
	Throttle int
	// Progress is called now and then, and at the end, from one goroutine at a time.
	Progress func(Progress)
}

// Progress is how far a rebuild is.
type Progress struct {
	Projection string
	Generation uint64
	Position   uint64  // everything up to there is handled
	Target     uint64  // position to come to, as far as is known
	Rate       float64 // commits a second, since the rebuild began or went on
	Remaining  time.Duration
}

// Percent returns how much of the way is done.
func (p Progress) Percent() float64 {
	if p.Target == 0 {
		return 100
	}
	return 100 * float64(min(p.Position, p.Target)) / float64(p.Target)
}

// Rebuilt is what a rebuild came to.
type Rebuilt struct {
	Generation uint64
	From       uint64 // position that it went on from, where an earlier one was broken off
	Position   uint64
	Commits    uint64 // that were read now
	Events     int    // that were handled now
	Parked     []Parked
	Took       time.Duration
}

// Rebuild makes the read model anew from the log, as a new generation beside the
// live one. Readers see the old one, which may be kept up to date meanwhile, until
// the new one is where that is; then, in one transaction, the new one replaces it,
// and the old one is removed.
//
// It goes on where a rebuild before came to no end, because its context ended or
// the process died. Events that the live generation has handled are marked as
// replayed for the handlers. A commit that cannot be handled is treated as
// [Options] say.
func (p *Projection[T]) Rebuild(ctx context.Context, opts *RebuildOptions) (Rebuilt, error) {
	if opts == nil {
		opts = &RebuildOptions{}
	}
	if err := p.alone(ctx); err != nil {
		return Rebuilt{}, err
	}
	defer func() { <-p.building }()
	return p.rebuild(ctx, opts)
}

// alone waits until no other rebuild works in this process.
func (p *Projection[T]) alone(ctx context.Context) error {
	select {
	case p.building <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("projection %s: another rebuild works: %w", p.name, ctx.Err())
	}
}

// upgrade rebuilds the read model of an older version, if that is not done meanwhile.
func (p *Projection[T]) upgrade(ctx context.Context) error {
	if err := p.alone(ctx); err != nil {
		return err
	}
	defer func() { <-p.building }()
	now, ok, err := p.current(ctx)
	if err != nil || !ok || now.Version >= p.opts.Version {
		return err
	}
	_, err = p.rebuild(ctx, &RebuildOptions{})
	return err
}

func (p *Projection[T]) rebuild(ctx context.Context, opts *RebuildOptions) (Rebuilt, error) {
	b := &rebuild[T]{Projection: p, opts: opts, began: time.Now()}
	if p.traits.Outside {
		return b.done, p.invalid("rebuild", "it has no read model")
	}
	for attempt := 1; ; attempt++ {
		at := b.done.Position
		over, err := b.step(ctx)
		b.done.Took = time.Since(b.began)
		switch {
		case over:
			return b.done, err
		case ctx.Err() != nil:
			return b.done, fmt.Errorf("projection %s: rebuild, at position %d: %w", p.name, b.done.Position, ctx.Err())
		case final(err) || errors.Is(err, ErrNoGeneration) || attempt >= rebuildAttempts:
			return b.done, p.named(err)
		case err == nil:
			attempt = 0
			continue
		case b.done.Position > at:
			attempt = 1
		}
		p.monitor.failed(Failure{Projection: p.name, Generation: b.number, Attempt: attempt, Err: err})
		pause(ctx, attempt)
	}
}

// named adds the projection's name to an error that has none.
func (p *Projection[T]) named(err error) error {
	if errors.Is(err, errMoved) {
		return fmt.Errorf("projection %s: rebuild: %w", p.name, err)
	}
	return err
}

// rebuildAttempts is how often a rebuild goes on without getting any further; it
// takes about half a minute.
const rebuildAttempts = 13

// rebuild is a Rebuild.
type rebuild[T any] struct {
	*Projection[T]
	opts   *RebuildOptions
	began  time.Time
	number uint64 // of the new generation; 0: it is not made yet
	lost   bool   // the log ends before what the live generation has handled
	done   Rebuilt

	mu     sync.Mutex
	from   uint64 // position that it goes on from
	target uint64
	told   time.Time
}

// step goes on with the rebuild until it is over, or something is odd, or the live
// generation is ahead again.
func (b *rebuild[T]) step(ctx context.Context) (over bool, err error) {
	now, err := b.prepare(ctx)
	if err != nil {
		return false, err
	}
	if now.Version > b.Projection.opts.Version {
		return false, b.invalid("rebuild", fmt.Sprintf("the read model is of version %d, and this program of version %d", now.Version, b.Projection.opts.Version))
	}
	if b.number == 0 {
		if err := b.start(ctx, now); err != nil {
			return false, err
		}
		if now, err = b.prepare(ctx); err != nil {
			return false, err
		}
	}
	if b.number == now.Live { // somebody else has finished it
		b.done.Generation = b.number
		return true, nil
	}
	r, err := b.open(ctx, b.number)
	if err != nil {
		return false, err
	}
	if err := b.aim(ctx, now, r); err != nil {
		return false, err
	}
	if err := b.run(ctx, r); err != nil {
		return false, err
	}
	switch {
	case b.opts.DryRun:
		if b.done.Parked, err = b.parkedIn(ctx, b.number); err == nil {
			err = b.Remove(ctx, b.number)
		}
		return err == nil, err
	case b.opts.To > 0:
		err := b.keep(ctx)
		return err == nil, err
	}
	return b.replace(ctx, now, r)
}

// start finds the generation that a rebuild before did not finish, or makes one.
func (b *rebuild[T]) start(ctx context.Context, now current) error {
	wanted := generation{Version: b.Projection.opts.Version, Building: true, To: b.opts.To, DryRun: b.opts.DryRun}
	all, err := b.generations(ctx)
	if err != nil {
		return err
	}
	for number, g := range all {
		if !g.Building || g.To != wanted.To || g.DryRun != wanted.DryRun {
			continue
		}
		if !b.opts.Restart && g.Version == wanted.Version {
			b.number = number
			continue
		}
		if err := b.Remove(ctx, number); err != nil {
			return err
		}
	}
	if b.number != 0 {
		return nil
	}
	wanted.Created, wanted.Workers = time.Now().UTC(), b.Projection.opts.Workers
	next := now.master
	next.Next++
	err = b.model.Update(ctx, b.name, func(tx Tx[T]) error {
		if err := swap(tx, masterKey, now.raw, encode(next)); err != nil {
			return err
		}
		return create(tx, now.Next, wanted, checkpoint{Position: now.Begin})
	})
	if err == nil {
		b.number = now.Next
	}
	return err
}

// aim sets the position to come to next.
func (b *rebuild[T]) aim(ctx context.Context, now current, r *run[T]) error {
	last, err := b.store.Position(ctx)
	if err != nil {
		return err
	}
	live, err := b.open(ctx, now.Live)
	if err != nil {
		return err
	}
	at := lowest(live.checkpoints()).Position
	r.replayed, r.skipped, r.workedTo = max(at, now.Replayed), live.allParked(), live.checkpoints()
	if len(r.workers) == len(live.workers) { // some may be far ahead of one that stopped
		at = highest(live.checkpoints()).Position
	}
	if at > last { // it went on, or the log lost commits
		if last, err = b.store.Position(ctx); err != nil {
			return err
		}
		b.lost = at > last
		at = min(at, last)
	}
	target := at
	switch {
	case b.opts.To > last:
		return b.invalid("rebuild", fmt.Sprintf("position %d is beyond the end of the log, which is %d", b.opts.To, last))
	case b.opts.To > 0:
		target, r.replayed, r.skipped = b.opts.To, endless, nil
	case b.opts.DryRun:
		target, r.replayed, r.skipped = last, endless, nil
	case at <= now.Begin: // it never ran
		target = last
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.target == 0 {
		b.from = lowest(r.checkpoints()).Position
		b.done.From = b.from
	}
	b.target = target
	return nil
}

// run handles everything up to the target.
func (b *rebuild[T]) run(ctx context.Context, r *run[T]) error {
	begin := lowest(r.checkpoints()).Position
	r.until = max(b.target, highest(r.checkpoints()).Position)
	if n := b.opts.Throttle; n > 0 {
		r.limiter = rate.NewLimiter(rate.Limit(n), max(n/20, 1))
	}
	if b.opts.DryRun {
		r.poison = Park
	}
	r.tell = func(position uint64) { b.tell(position, false) }
	err := b.replayTo(ctx, r)
	b.done.Generation, b.done.Position = b.number, lowest(r.checkpoints()).Position
	b.done.Commits += b.done.Position - begin
	b.done.Events += r.events
	b.tell(b.done.Position, true)
	return err
}

// tell tells how far it is, now and then.
func (b *rebuild[T]) tell(position uint64, always bool) {
	const interval = 100 * time.Millisecond
	if b.opts.Progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !always && time.Since(b.told) < interval {
		return
	}
	b.told = time.Now()
	p := Progress{Projection: b.name, Generation: b.number, Position: position, Target: max(b.target, position)}
	if p.Rate = float64(position-min(b.from, position)) / time.Since(b.began).Seconds(); p.Rate > 0 {
		p.Remaining = time.Duration(float64(p.Target-position) / p.Rate * float64(time.Second))
	}
	b.opts.Progress(p)
}
