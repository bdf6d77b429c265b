package aggregate

import (
	"sync/atomic"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
)

// commits are the last commits in a state, the latest one last. To add one makes
// another list, and leaves this one as it is. Lists share what they have in
// common, so that a command need not copy what it remembers.
type commits struct {
	in       *slots
	from, to int
}

// slots are written once each, in their order.
type slots struct {
	used atomic.Int64
	list []snapshot.Applied
}

const remembered = eventstore.Remembered

func commitsOf(list []snapshot.Applied) commits {
	list = list[max(0, len(list)-remembered):]
	s := &slots{list: make([]snapshot.Applied, min(2*(len(list)+1), 2*remembered))}
	s.used.Store(int64(copy(s.list, list)))
	return commits{s, 0, len(list)}
}

// add returns the list with one more. Where another list has written the next
// slot, or there is none, what is remembered is copied.
func (c commits) add(a snapshot.Applied) commits {
	next := int64(c.to)
	if c.in == nil || c.to == len(c.in.list) || !c.in.used.CompareAndSwap(next, next+1) {
		c = commitsOf(c.last(remembered - 1))
		c.in.used.Add(1)
	}
	c.in.list[c.to] = a
	return commits{c.in, max(c.from, c.to+1-remembered), c.to + 1}
}

// last returns the last n of the list, or as many as there are. They are not to
// be changed.
func (c commits) last(n int) []snapshot.Applied {
	if c.in == nil {
		return nil
	}
	return c.in.list[max(c.from, c.to-n):c.to:c.to]
}

// without returns the list without its last one.
func (c commits) without() commits { return commits{c.in, c.from, max(c.to-1, c.from)} }
