package eventstore

import (
	"context"
	"sync/atomic"
	"time"
)

// leader is what is known of the node that leads a replicated log. One that
// lost a stream's last commits takes an earlier one for the last, and accepts an
// append after that. While it is in doubt an append asks the other nodes first.
//
// That is known for up to a second, and then asked beside an append, which does
// not wait for it. So within a second of such a node becoming the leader an
// append after an old revision gets through; the stream's next read tells.
type leader struct {
	asked atomic.Int64 // when, in nanoseconds
	doubt atomic.Bool
}

const (
	leaderKnown = time.Second
	leaderWait  = 2 * time.Second
)

// leads notes what the leader says it has.
func (s *Store) leads(have count) {
	if s.replicas == 1 {
		return
	}
	s.leader.asked.Store(time.Now().UnixNano())
	if doubt := !have.complete(); s.leader.doubt.Swap(doubt) != doubt && doubt {
		s.report(s.corrupt(StreamID{}, have.last, "node %s, which leads the log, lost messages, %s: make another node the leader and replace this one's copy", have.leader, have))
	}
}

// doubtful reports whether the leader lost messages.
func (s *Store) doubtful(ctx context.Context) bool {
	if s.replicas == 1 {
		return false
	}
	now := time.Now().UnixNano()
	if asked := s.leader.asked.Load(); now-asked > int64(leaderKnown) && s.leader.asked.CompareAndSwap(asked, now) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderWait)
		go func() {
			defer cancel()
			if have, err := s.count(ctx, ""); err == nil {
				s.leads(have)
			}
		}()
	}
	return s.leader.doubt.Load()
}
