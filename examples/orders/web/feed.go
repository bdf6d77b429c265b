package web

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

const (
	maxListeners = 1000 // streams of events at a time
	maxWaiting   = 1024 // commits that may wait for a listener
	catchingUp   = 8    // listeners that read the log at a time
)

// A feed is the log as it grows, for all who listen. There is one while somebody does.
type feed struct {
	front *Front
	stop  context.CancelFunc
	ready chan struct{} // closed when it is known where the log stands

	mu        sync.Mutex
	known     bool
	at        uint64             // position up to which the listeners have it
	part      []eventstore.Event // of a commit that is not there whole yet
	listeners map[*listener]struct{}
}

// A listener gets the commits that a feed has after it came.
type listener struct {
	feed    *feed
	commits chan []eventstore.Event // closed when there will be no more
}

// listen returns a new listener, of a feed that need not be ready. Have it leave.
func (f *Front) listen() (*listener, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return nil, newProblem("unavailable", "the server is stopping")
	default:
	}
	if f.feed == nil {
		ctx, stop := context.WithCancel(context.Background())
		created := &feed{front: f, stop: stop, ready: make(chan struct{}), listeners: map[*listener]struct{}{}}
		f.feeding.Go(func() { created.run(ctx) })
		f.feed = created
	}
	l := &listener{f.feed, make(chan []eventstore.Event, maxWaiting)}
	if !f.feed.add(l) {
		return nil, newProblem("unavailable", "too many listen already")
	}
	return l, nil
}

// leave ends a listener, and the feed with the last one.
func (f *Front) leave(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.feed.drop(l) == 0 && f.feed == l.feed {
		f.feed = nil
		l.feed.stop()
	}
}

func (d *feed) add(l *listener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.listeners) >= maxListeners {
		return false
	}
	d.listeners[l] = struct{}{}
	return true
}

// drop ends a listener, and returns how many there still are.
func (d *feed) drop(l *listener) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.listeners[l]; ok {
		delete(d.listeners, l)
		close(l.commits)
	}
	return len(d.listeners)
}

// position returns where the feed stands: what comes later, the listener gets.
func (l *listener) position(ctx context.Context) (uint64, error) {
	select {
	case <-l.feed.ready:
		l.feed.mu.Lock()
		defer l.feed.mu.Unlock()
		return l.feed.at, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run goes on until it is stopped, or the log is another one. Whenever something may
// have been missed, it reads on in the log.
func (d *feed) run(ctx context.Context) {
	defer d.stop()
	for attempt := 0; ; attempt++ {
		began := d.position()
		err := d.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if d.known && errors.Is(err, eventstore.ErrCorrupt) {
			d.front.dismiss(d, err)
			return
		}
		if d.position() > began {
			attempt = 0
		}
		d.front.config.Logger.Info("the live feed goes on after a break", "position", d.position(), "reason", err)
		select {
		case <-time.After(rand.N(min(50*time.Millisecond<<min(attempt, 8), 5*time.Second))):
		case <-ctx.Done():
			return
		}
	}
}

func (d *feed) position() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// follow gives the listeners what comes, until something may have been missed.
func (d *feed) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var checking sync.WaitGroup
	defer checking.Wait()
	defer cancel(nil)
	opts := &eventstore.LiveOptions{CatchUp: func() (uint64, error) {
		err := d.catchUp(ctx)
		checking.Go(func() { cancel(d.check(ctx)) })
		return d.position(), err
	}}
	for e, err := range eventstore.Live(ctx, d.front.config.Conn, d.front.live, opts) {
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		d.take(e)
	}
	return nil
}

// catchUp reads what the log has after where the feed stands. At first that is its
// end.
func (d *feed) catchUp(ctx context.Context) error {
	d.part = nil
	if !d.known {
		at, err := d.front.config.Log.Position(ctx)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.known, d.at = true, at
		d.mu.Unlock()
		close(d.ready)
		return nil
	}
	for e, err := range d.front.config.Log.Log(ctx, d.at, nil) {
		if err != nil {
			return err
		}
		d.take(e)
	}
	return nil
}

// check returns an error when the log has grown and the feed has not: a live feed may
// miss what is followed by nothing.
func (d *feed) check(ctx context.Context) error {
	tick := time.NewTicker(d.front.heartbeat)
	defer tick.Stop()
	for {
		before := d.position()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if at, err := d.front.config.Log.Position(ctx); err == nil && before == d.position() && at > before {
			select {
			case <-tick.C: // it may be on its way
			case <-ctx.Done():
				return nil
			}
			if before == d.position() {
				return fmt.Errorf("the log is at position %d, and nothing came after %d", at, before)
			}
		}
	}
}

// take gives the listeners a commit when its last event is there.
func (d *feed) take(e eventstore.Event) {
	d.part = append(d.part, e)
	if e.Version != e.Revision().Version {
		return
	}
	commit := d.part
	d.part = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = e.Position
	for l := range d.listeners {
		select {
		case l.commits <- commit:
		default: // it is too slow, and comes back
			delete(d.listeners, l)
			close(l.commits)
		}
	}
}

// dismiss ends a feed that cannot go on, and its listeners. Whoever comes back gets
// another feed, and is told to read the list again if the log is another one.
func (f *Front) dismiss(d *feed, reason error) {
	f.config.Logger.Warn("the live feed ends", "position", d.position(), "reason", reason)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed == d {
		f.feed = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.listeners {
		delete(d.listeners, l)
		close(l.commits)
	}
}
