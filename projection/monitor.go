package projection

import (
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// State is what a projection does.
type State string

// The states of a projection.
const (
	Stopped    State = "stopped"     // it does not run; Err says why, if that was not asked for
	Standby    State = "standby"     // another process projects
	CatchingUp State = "catching up" // it handles what was there
	Live       State = "live"        // it has handled everything, and waits for more
)

// Status is how a projection is. Positions and commits are those of the log.
type Status struct {
	Projection string
	State      State
	// Err is why it stopped, or why it makes no progress at the moment and tries
	// again; nil if all is well.
	Err        error
	Generation uint64 // of the read model that is live
	Position   uint64 // up to which everything is handled, or parked
	Head       uint64 // the log's last position, as far as is known
	// Behind is how old the oldest commit is that is read and not handled; 0 if
	// there is none.
	Behind time.Duration
	Parked int // streams
}

// Lag is how many commits are not handled yet, those of streams without handlers
// included.
func (s Status) Lag() uint64 { return s.Head - min(s.Head, s.Position) }

// Hooks are called for what happens, from several goroutines, and before the
// projection goes on: they should return soon. Nil ones are not called.
type Hooks struct {
	// Batch is called after each transaction.
	Batch func(Batch)
	// Failure is called after each attempt that failed.
	Failure func(Failure)
	// State is called when the state has changed, with Status as it is then.
	State func(Status)
}

// Batch is what a transaction did.
type Batch struct {
	Projection string
	Generation uint64
	Commits    int // that it passed, parked ones included
	Events     int // that had handlers
	Position   uint64
	Took       time.Duration
}

// Failure is an attempt that failed.
type Failure struct {
	Projection string
	Generation uint64
	// Stream and Position are those of the commit whose handlers failed, zero if
	// it was something else: the database, or the connection to the server.
	Stream   eventstore.StreamID
	Position uint64
	Attempt  int
	Err      error
	// Parked says that the commit was parked now.
	Parked bool
}

// monitor knows how a projection is, and wakes up who waits for it.
type monitor struct {
	hooks Hooks

	mu      sync.Mutex
	status  Status
	oldest  time.Time // when the oldest commit in hand was stored
	parked  map[eventstore.StreamID]parked
	changed chan struct{} // closed at the next change
	follows bool          // this process projects
	waiters int
	restart func() // lets the projection begin anew from its checkpoint; nil: it does not run
	late    bool   // it is to do so at once when it does
}

func newMonitor(name string, hooks Hooks) *monitor {
	return &monitor{
		hooks: hooks, status: Status{Projection: name, State: Stopped},
		changed: make(chan struct{}),
	}
}

// change changes what is known, and tells everybody.
func (m *monitor) change(f func(*monitor)) {
	m.mu.Lock()
	before := m.status.State
	f(m)
	status := m.now()
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	if status.State != before && m.hooks.State != nil {
		m.hooks.State(status)
	}
}

// reached notes how far the projection is. It is called for each commit: only who
// waits is told, and of a change of the state everybody.
func (m *monitor) reached(position, head uint64, oldest time.Time, far uint64) {
	m.mu.Lock()
	m.status.Position, m.status.Head, m.oldest = position, max(head, position, m.status.Head), oldest
	state := m.status.State
	switch lag := m.status.Lag(); {
	case lag == 0:
		state = Live
	case lag > far:
		state = CatchingUp
	}
	tell := state != m.status.State || m.waiters > 0
	m.mu.Unlock()
	if tell {
		m.change(func(m *monitor) { m.status.State = state })
	}
}

// begun notes since when something is in hand.
func (m *monitor) begun(head uint64, oldest time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Head, m.oldest = max(head, m.status.Head), oldest
}

// atLeast notes where the log ends.
func (m *monitor) atLeast(head uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status.Head = max(m.status.Head, head); m.status.Lag() > 0 && m.status.State == Live {
		m.status.State = CatchingUp
	}
}

func (m *monitor) state(s State, err error) {
	m.change(func(m *monitor) {
		m.status.State, m.status.Err = s, err
		m.follows = m.follows && (s == CatchingUp || s == Live)
	})
}

// interruptible notes how to interrupt who projects, until what it returns is
// called.
func (m *monitor) interruptible(restart func()) (over func()) {
	set := func(f func()) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.restart = f; f != nil && m.late {
			m.late = false
			f()
		}
	}
	set(restart)
	return func() { set(nil) }
}

// moved says that the read model was changed by hand: who projects in this process
// begins anew, and until then nothing that it knows counts.
func (m *monitor) moved() {
	m.mu.Lock()
	restart := m.restart
	m.late = restart == nil // it may be about to begin, with what it read before
	m.mu.Unlock()
	if restart == nil {
		return
	}
	m.change(func(m *monitor) { m.follows = false })
	restart()
}

// trouble says why nothing goes on at the moment; nil: it does.
func (m *monitor) trouble(err error) {
	m.mu.Lock()
	same := m.status.Err == nil && err == nil
	m.mu.Unlock()
	if !same {
		m.change(func(m *monitor) { m.status.Err = err })
	}
}

// now returns the status. The monitor is locked.
func (m *monitor) now() Status {
	s := m.status
	s.Parked = len(m.parked)
	if !m.oldest.IsZero() {
		s.Behind = max(time.Since(m.oldest), 0)
	}
	return s
}

// Status returns how the projection is, as this process knows: whether it runs
// here, and how far it is.
func (p *Projection[T]) Status() Status {
	p.monitor.mu.Lock()
	defer p.monitor.mu.Unlock()
	return p.monitor.now()
}

func (m *monitor) failed(f Failure) {
	if m.hooks.Failure != nil {
		m.hooks.Failure(f)
	}
}
