package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
)

// abandoned is for how long the consumer of a read model that is in one process
// stays on the server when that process is gone. It is only to look at: a new one
// is made when the projection runs again.
const abandoned = 24 * time.Hour

// Run keeps the read model up to date until the context ends, which is no error:
// it then finishes the transactions in hand, see [Options], and returns nil.
// Another error is why it stopped: a [StoppedError], an [OtherLogError], or an
// [eventstore.CorruptionError] if the log lost what was read before. Everything
// else, such as a server or database that is away, is tried again for as long as
// it takes; [Projection.Status] says what it is.
//
// Where several processes run a projection on a shared model, one of them
// projects, and another takes over within seconds when that one is gone.
func (p *Projection[T]) Run(ctx context.Context) error {
	release, err := p.hold()
	if err != nil {
		return err
	}
	defer release()
	return p.run(ctx)
}

// hold makes the caller the one that runs the projection in this process.
func (p *Projection[T]) hold() (release func(), err error) {
	if !p.running.TryLock() {
		return nil, fmt.Errorf("projection %s: %w", p.name, ErrRunning)
	}
	c, claims := p.model.(claimer)
	if claims && !c.claim(p.name) {
		p.running.Unlock()
		return nil, fmt.Errorf("projection %s: on the same model: %w", p.name, ErrRunning)
	}
	p.monitor.state(CatchingUp, nil)
	return func() {
		if claims {
			c.disclaim(p.name)
		}
		p.running.Unlock()
	}, nil
}

func (p *Projection[T]) run(ctx context.Context) error {
	s := &session[T]{Projection: p}
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := s.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return p.stop(nil)
		case final(err):
			return p.stop(err)
		case errors.Is(err, errMoved):
			attempt = min(attempt, fewMoves) // it goes on from where the other one left it
		case err != nil:
			p.monitor.trouble(err)
			p.monitor.failed(Failure{Projection: p.name, Attempt: attempt, Err: err})
		}
		if time.Since(began) > idleTime {
			attempt = 1
		}
		pause(ctx, attempt)
	}
}

// fewMoves bounds the pause after a checkpoint was moved by somebody else: that is no
// trouble, however often it happens.
const fewMoves = 4

func (p *Projection[T]) stop(err error) error {
	if f, ok := p.model.(flusher); ok {
		ctx, cancel := context.WithTimeout(context.Background(), p.opts.Drain)
		defer cancel()
		if wrong := f.Flush(ctx); err == nil && wrong != nil {
			err = fmt.Errorf("projection %s: stop: %w", p.name, wrong)
		}
	}
	p.monitor.state(Stopped, err)
	return err
}

// session is a Run.
type session[T any] struct {
	*Projection[T]
	consumer string // that this process made last
}

// current is the generation that is live.
type current struct {
	master
	generation
	raw []byte // of the master
}

// follow projects to the live generation until something is odd.
func (s *session[T]) follow(ctx context.Context) error {
	now, err := s.prepare(ctx)
	switch {
	case err != nil:
		return err
	case now.Version > s.opts.Version:
		s.monitor.state(Standby, fmt.Errorf("the read model is of version %d, and this program of version %d", now.Version, s.opts.Version))
		return wait(ctx, idleTime)
	case now.Version < s.opts.Version:
		return s.upgrade(ctx)
	}
	if s.traits.Shared && now.Consumer != "" && now.Consumer != s.consumer {
		s.monitor.state(Standby, nil)
		if err := s.store.Standby(ctx, now.Consumer); err != nil {
			return err
		}
	}
	if now.Workers != s.opts.Workers {
		// It goes on at once: if it stood by again, others with other numbers of workers
		// might come before it, and they before others, and none would project.
		if err := s.share(ctx, now); err != nil {
			return err
		}
		if now, err = s.prepare(ctx); err != nil {
			return err
		}
	}
	r, err := s.open(ctx, now.Live)
	if err != nil {
		return err
	}
	source, err := s.take(ctx, now, lowest(r.checkpoints()))
	if err != nil {
		return err
	}
	defer source.Close()
	low := lowest(r.checkpoints()).Position
	s.monitor.change(func(m *monitor) {
		m.follows, m.parked = true, r.allParked()
		m.status.State, m.status.Err, m.status.Generation, m.status.Position = CatchingUp, nil, now.Live, low
	})
	r.live = true
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer s.monitor.interruptible(func() { end(errMoved) })()
	return r.do(ctx, source)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return errMoved // look again
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take makes this process the one that projects: it reads through a new consumer
// from the checkpoint on, and the one before is gone, and with it whatever another
// process still has of it.
func (s *session[T]) take(ctx context.Context, now current, at checkpoint) (*eventstore.Consumer, error) {
	// Without a server no name is noted of a consumer that will not be.
	if _, err := s.store.Position(ctx); err != nil {
		return nil, err
	}
	name := s.name + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	next := now.master
	next.Consumer, next.Former = name, append(slices.Clone(now.Former), now.Consumer)
	next.Former = next.Former[max(len(next.Former)-mostFormer, 0):]
	err := s.model.Update(ctx, s.name, func(tx Tx[T]) error {
		return swap(tx, masterKey, now.raw, encode(next))
	})
	if err != nil {
		return nil, err
	}
	s.consumer = name
	opts := &eventstore.ConsumerOptions{
		Kinds: s.kinds, Recorded: at.Recorded, Shared: s.traits.Shared,
		Metadata: map[string]string{"headwater-projection": s.name},
	}
	if !s.traits.Shared {
		opts.Abandoned = abandoned
	}
	source, err := s.store.Consume(ctx, name, at.Position, opts)
	if err != nil {
		return nil, err
	}
	if err := s.removeFormer(ctx, next); err != nil {
		source.Close()
		return nil, err
	}
	return source, nil
}

// mostFormer bounds how many consumers are remembered of which it is not known that they
// are gone: those of processes that died while they took over.
const mostFormer = 32

// removeFormer removes the consumers before, and the note of them.
func (s *session[T]) removeFormer(ctx context.Context, now master) error {
	for _, old := range now.Former {
		if old == "" {
			continue
		}
		if err := s.store.RemoveConsumer(ctx, old); err != nil {
			return err
		}
	}
	clean := now
	clean.Former = nil
	return s.model.Update(ctx, s.name, func(tx Tx[T]) error {
		return swap(tx, masterKey, encode(now), encode(clean))
	})
}

// prepare returns the live generation, and makes the first one. What a process that
// died has left is removed.
func (p *Projection[T]) prepare(ctx context.Context) (now current, err error) {
	now, ok, err := p.current(ctx)
	if err != nil {
		return now, err
	}
	if ok {
		return now, p.tidy(ctx)
	}
	begin, err := p.begin(ctx)
	if err != nil {
		return now, err
	}
	now.master = master{Log: p.store.Identity(), Live: 1, Next: 2, Begin: begin.Position}
	now.generation = generation{Version: p.opts.Version, Created: time.Now().UTC(), Workers: p.opts.Workers}
	now.raw = encode(now.master)
	return now, p.model.Update(ctx, p.name, func(tx Tx[T]) error {
		if err := swap(tx, masterKey, nil, now.raw); err != nil {
			return err
		}
		if err := create(tx, now.Live, now.generation, begin); err != nil {
			return err
		}
		return tx.Show(now.Live)
	})
}

// current returns the live generation, if there is one, and refuses that of
// another log.
func (p *Projection[T]) current(ctx context.Context) (now current, ok bool, err error) {
	err = p.model.Records(ctx, p.name, func(r Records) error {
		if now.raw, err = r.Get(masterKey); err != nil || now.raw == nil {
			return err
		}
		ok = true
		if err := parse(masterKey, now.raw, &now.master); err != nil {
			return err
		}
		var there bool
		if now.generation, there, err = load[generation](r, generationKey(now.Live)); err == nil && !there {
			err = fmt.Errorf("record %s of the read model %w: it is missing", generationKey(now.Live), errDamagedRecord)
		}
		return err
	})
	if err == nil && ok && now.Log != p.store.Identity() {
		err = &OtherLogError{Projection: p.name, Log: p.store.Name(), Made: now.Log, Open: p.store.Identity()}
	}
	return now, ok, err
}

// begin returns where a new projection begins.
func (p *Projection[T]) begin(ctx context.Context) (checkpoint, error) {
	if p.opts.After != Now {
		return checkpoint{Position: p.opts.After}, nil
	}
	last, err := p.store.Position(ctx)
	return checkpoint{Position: last}, err
}

// create makes an empty generation that begins after a position.
func create[T any](tx Tx[T], number uint64, g generation, begin checkpoint) error {
	if err := tx.Create(number); err != nil {
		return err
	}
	for i := range g.Workers {
		if err := save(tx, checkpointKey(number, i), begin); err != nil {
			return err
		}
	}
	return save(tx, generationKey(number), g)
}

// share brings all workers of the live generation to the same position, after
// which their number can change, since with it changes who handles which stream.
func (s *session[T]) share(ctx context.Context, now current) error {
	r, err := s.open(ctx, now.Live)
	if err != nil {
		return err
	}
	if err := s.level(ctx, r); err != nil {
		return err
	}
	// Who holds checkpoints of before, for other workers, must not take these for them.
	held := r.workers[0].held
	for _, w := range r.workers {
		held.Changes = max(held.Changes, w.held.Changes)
	}
	held.Changes++
	return s.model.Update(ctx, s.name, func(tx Tx[T]) error {
		for _, w := range r.workers {
			if err := swap(tx, w.key, w.raw, nil); err != nil {
				return err
			}
		}
		now.Workers = s.opts.Workers
		for i := range now.Workers {
			if err := save(tx, checkpointKey(now.Live, i), held); err != nil {
				return err
			}
		}
		return save(tx, generationKey(now.Live), now.generation)
	})
}

// level lets those workers that are behind catch up with the others.
func (p *Projection[T]) level(ctx context.Context, r *run[T]) error {
	all := r.checkpoints()
	low, high := lowest(all), highest(all)
	if low.Position == high.Position {
		return nil
	}
	r.until = high.Position
	return p.replayTo(ctx, r)
}

// replayTo projects up to where the run is to end, from a consumer that is not to
// be seen.
func (p *Projection[T]) replayTo(ctx context.Context, r *run[T]) error {
	low := lowest(r.checkpoints())
	if low.Position >= r.until {
		return nil
	}
	source, err := p.store.Consume(ctx, "", low.Position, &eventstore.ConsumerOptions{Kinds: p.kinds, Recorded: low.Recorded})
	if err != nil {
		return err
	}
	defer source.Close()
	return r.do(ctx, source)
}
