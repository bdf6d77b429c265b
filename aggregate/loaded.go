package aggregate

import (
	"sync/atomic"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
)

// loaded is a folded state: what the events say, where the stream stood, and
// which commands were applied last. Copies of one share the state and the list.
type loaded[S any] struct {
	state   S
	at      eventstore.Revision
	applied []snapshot.Applied // the last commits
	own     bool               // no copy shares the list

	saved uint64             // version of the last snapshot
	from  *snapshot.Snapshot // not known yet to be of the log's history
}

// move notes where the stream stood after an event. The events of a commit may
// lead to different versions, of which the last counts.
func (l *loaded[S]) move(at eventstore.Revision) {
	if !l.own {
		l.applied = append(make([]snapshot.Applied, 0, len(l.applied)+1), l.applied...)
		l.own = true
	}
	if at.Position != l.at.Position {
		l.remember(snapshot.Applied{ID: snapshot.KeyOf(at.CommitID), Version: at.Version})
	} else if n := len(l.applied); n > 0 {
		l.applied[n-1].Version = at.Version
	}
	l.at = at
}

func (l *loaded[S]) remember(a snapshot.Applied) {
	if n := len(l.applied); n >= eventstore.Remembered {
		copy(l.applied, l.applied[n-eventstore.Remembered+1:])
		l.applied = l.applied[:eventstore.Remembered-1]
	}
	l.applied = append(l.applied, a)
}

// find returns the version after the commit of a command, if it is remembered.
func (l *loaded[S]) find(commandID string) (version uint64, ok bool) {
	if commandID == "" {
		return 0, false
	}
	key := snapshot.KeyOf(commandID)
	for _, a := range l.applied {
		if a.ID == key {
			return a.Version, true
		}
	}
	return 0, false
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
