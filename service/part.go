package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// GoOptions are what a part may be run with. The zero value of each field is its
// default.
type GoOptions struct {
	// Ready says why the part is not ready, nil if it is. It is called for each
	// question after the service's health, from several goroutines, while the part
	// runs; its context ends soon. Default: it is ready while it runs.
	Ready func(context.Context) error
}

// Go runs a part of the service in the background until the service stops: then its
// context ends, and the service waits until it returns. A part that returns an error
// before that makes the service not ready, and is not run again; one that returns nil
// is done. After the service has stopped the part does not run.
func (s *Service) Go(name string, run func(context.Context) error, opts *GoOptions) {
	if opts == nil {
		opts = &GoOptions{}
	}
	p := &part{name: name, what: "background"}
	p.look = func(ctx context.Context, _ head) Part {
		switch running, err := p.state(); {
		case err != nil:
			return p.says("stopped", err)
		case !running:
			return p.says("done", nil)
		case opts.Ready == nil:
			return p.says("running", nil)
		}
		return p.says("running", opts.Ready(ctx))
	}
	s.begin(p, run)
}

// Projection is what the service runs and knows of a [projection.Projection].
type Projection interface {
	Name() string
	Store() *eventstore.Store
	Run(context.Context) error
	Status() projection.Status
}

// ProjectOptions are bounds within which a projection counts as ready. The zero value
// of each field is its default.
type ProjectOptions struct {
	// MaxLag is how many commits may wait for it; default 10,000.
	MaxLag uint64
	// MaxBehind is how old the oldest commit may be that it has read and not handled,
	// and for how long it may stay where it is while commits wait; default one
	// minute.
	MaxBehind time.Duration
}

// Project runs a projection in the background, as [Service.Go] does. It is ready while
// it is live, or catches up within the bounds, or stands by because another process
// projects, which knows how far it is. When the service stops it finishes the transaction in hand.
func (s *Service) Project(p Projection, opts *ProjectOptions) {
	if opts == nil {
		opts = &ProjectOptions{}
	}
	bounds := ProjectOptions{cmp.Or(opts.MaxLag, 10_000), positive(opts.MaxBehind, time.Minute)}
	pt := &part{name: p.Name(), what: "projection"}
	pt.look = func(_ context.Context, h head) Part { return pt.projects(p, bounds, h) }
	s.begin(pt, p.Run)
}

// head is the end of a log.
type head struct {
	log      string // its identity
	position uint64
}

func (p *part) projects(of Projection, bounds ProjectOptions, h head) Part {
	status := of.Status()
	if _, err := p.state(); err != nil {
		return p.says("stopped", err)
	}
	said := p.says(string(status.State), nil)
	if status.State == projection.Standby {
		p.rests()
		if status.Err != nil {
			said.Note = status.Err.Error()
		}
		return said // how far the other process is, this one does not know
	}
	if h.log == of.Store().Identity() {
		// What it knows itself is of when it was last connected.
		status.Head = max(status.Head, h.position)
	}
	behind := max(status.Behind, p.stalled(status))
	said.Lag, said.Behind, said.Parked = status.Lag(), behind.Seconds(), status.Parked
	switch {
	case status.State == projection.Stopped:
		said.fail(errors.New("it does not run"))
	case said.Lag > bounds.MaxLag:
		said.fail(because(fmt.Errorf("%d commits wait for it, more than %d", said.Lag, bounds.MaxLag), status.Err))
	case behind > bounds.MaxBehind:
		said.fail(because(fmt.Errorf("it is %v behind, more than %v", behind.Round(time.Millisecond), bounds.MaxBehind), status.Err))
	case status.Err != nil:
		said.Note = "tries again: " + status.Err.Error()
	}
	return said
}

// stalled returns for how long, as far as was looked, a projection has had something
// to do and has not moved. It does not say so itself while a handler hangs.
func (p *part) stalled(status projection.Status) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if status.Lag() == 0 || status.Position != p.position || p.since.IsZero() {
		p.position, p.since = status.Position, time.Now()
		return 0
	}
	return time.Since(p.since)
}

// rests notes that a projection has nothing to do, whatever waits.
func (p *part) rests() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Time{}
}

func because(err, why error) error {
	if why == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, why)
}

// part is something that runs in the background.
type part struct {
	name, what string
	look       func(context.Context, head) Part

	mu      sync.Mutex
	running bool
	err     error // why it ended

	// Of a projection: where it was when somebody looked, and since when.
	position uint64
	since    time.Time
}

func (p *part) says(state string, err error) Part {
	said := Part{Part: p.what + " " + p.name, Ready: true, State: state}
	if err != nil {
		said.fail(err)
	}
	return said
}

func (p *part) state() (running bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.err
}

func (p *part) set(running bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running, p.err = running, err
}

// begin runs a part, and lets the health endpoints know of it.
func (s *Service) begin(p *part, run func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.background.Err() != nil { // nobody would wait for it
		return
	}
	s.running = append(s.running, p)
	p.set(true, nil)
	s.parts.Go(func() {
		err := run(s.background)
		told := s.background.Err() != nil
		if told && errors.Is(err, context.Canceled) {
			err = nil // that it was told to end is no failure
		}
		p.set(false, err)
		if err == nil {
			return
		}
		s.log.Error(p.what+" stopped", "name", p.name, "error", err)
		if told {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.partErrs = append(s.partErrs, fmt.Errorf("%s %s: %w", p.what, p.name, err))
		}
	})
}
