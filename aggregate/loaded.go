package aggregate

import (
	"sync/atomic"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
)

// loaded is a folded state: what the events say, where the stream stood, and
// which commands were applied last. Copies of one share the state and the list,
// which are never changed.
type loaded[S any] struct {
	state   S
	at      eventstore.Revision
	applied commits
	noted   []eventstore.Revision // those that are being folded

	saved uint64             // version of the last snapshot
	from  *snapshot.Snapshot // not known yet to be of the log's history
}

// note notes an event that was folded. The events of a commit lead to different
// versions, of which the last counts.
func (l *loaded[S]) note(e eventstore.Event) {
	n := len(l.noted)
	switch {
	case n > 0 && l.noted[n-1].Position == e.Position:
		l.noted[n-1].Version = e.Version
		return
	case n == 2*remembered:
		l.noted = l.noted[:copy(l.noted, l.noted[remembered:])]
	}
	l.noted = append(l.noted, eventstore.Revision{Version: e.Version, Position: e.Position, CommitID: e.CommitID})
}

// move ends the folding: the stream stands at a revision, after the commits that
// were noted.
func (l *loaded[S]) move(at eventstore.Revision) {
	noted := l.noted[max(0, len(l.noted)-remembered):]
	if len(noted) > 0 && noted[0].Position == l.at.Position {
		l.applied = l.applied.without() // this is the rest of it
	}
	for _, r := range noted {
		l.applied = l.applied.add(snapshot.Applied{ID: snapshot.KeyOf(r.CommitID), Version: r.Version})
	}
	l.at, l.noted = at, nil
}

// find returns the version after the commit of a command, if it is remembered.
func (l *loaded[S]) find(commandID string) (version uint64, ok bool) {
	if commandID == "" {
		return 0, false
	}
	key := snapshot.KeyOf(commandID)
	for _, a := range l.applied.last(remembered) {
		if a.ID == key {
			return a.Version, true
		}
	}
	return 0, false
}

// remembers reports whether the commit that followed a version is remembered.
func (l *loaded[S]) remembers(version uint64) bool {
	known := l.applied.last(remembered)
	return len(known) < remembered || known[0].Version <= version
}

// pace is what it takes to read and fold an event, as a mean that follows what
// is measured.
type pace struct{ nanos atomic.Int64 }

// usual is the pace before anything was measured, of events that are spread over
// a log on the same machine.
const usual = 20 * time.Microsecond

func (p *pace) measured(events uint64, took time.Duration) {
	const few = 16 // of which the round trips are the most
	each, old := int64(took)/int64(events), p.nanos.Load()
	if old > 0 && events < few {
		return
	}
	if old > 0 {
		each = old + (each-old)/8
	}
	p.nanos.Store(max(each, 1)) // of two at once one is enough
}

func (p *pace) estimate(events uint64) time.Duration {
	each := time.Duration(p.nanos.Load())
	if each == 0 {
		each = usual
	}
	return each * time.Duration(events)
}
