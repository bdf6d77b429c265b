package aggregate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// states are the aggregates' states that were used last, by id. Each may be
// older than the log.
type states[S any] struct {
	mu  sync.Mutex
	lru *simplelru.LRU[string, loaded[S]] // nil: none are kept
}

func newStates[S any](size int) *states[S] {
	if size < 0 {
		return &states[S]{}
	}
	if size == 0 {
		size = 10_000
	}
	lru, err := simplelru.NewLRU[string, loaded[S]](size, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &states[S]{lru: lru}
}

func (s *states[S]) get(id string) (l loaded[S], ok bool) {
	if s.lru == nil {
		return l, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Get(id)
}

// put keeps a state unless a newer one is there.
func (s *states[S]) put(id string, l loaded[S]) {
	if s.lru == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.lru.Peek(id); ok {
		l.saved = max(l.saved, old.saved)
		if old.at.Position > l.at.Position {
			old.saved = l.saved
			l = old
		}
	}
	s.lru.Add(id, l)
}

// turns lets those who want to do the same with an aggregate do so one after
// another: of commands that decide on the same state one wins, and the work of the
// others is lost.
type turns struct {
	mu     sync.Mutex
	queues map[string]*turn
}

type turn struct {
	taken chan struct{} // holds one
	users int
	left  atomic.Int64 // how many had the turn
}

// briefly is for how long anybody waits while the turn does not move on. After
// that he goes ahead: the log lets one win in any case, and whoever has the turn
// may be waiting for a server that is gone.
const briefly = time.Second

// take waits for the turn at an aggregate, and reports whether it had to. The
// error is that of the context.
func (t *turns) take(ctx context.Context, id string) (leave func(), waited bool, err error) {
	q := t.join(id)
	done := func() { q.left.Add(1); <-q.taken; t.leave(id, q) }
	select {
	case q.taken <- struct{}{}:
		return done, false, nil
	default:
	}
	timer := time.NewTimer(briefly)
	defer timer.Stop()
	for {
		left := q.left.Load()
		select {
		case q.taken <- struct{}{}:
			return done, true, nil
		case <-timer.C:
			if q.left.Load() == left {
				return func() { t.leave(id, q) }, true, nil
			}
			timer.Reset(briefly)
		case <-ctx.Done():
			t.leave(id, q)
			return nil, true, ctx.Err()
		}
	}
}

func (t *turns) join(id string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[id]
	if q == nil {
		if t.queues == nil {
			t.queues = make(map[string]*turn)
		}
		q = &turn{taken: make(chan struct{}, 1)}
		t.queues[id] = q
	}
	q.users++
	return q
}

func (t *turns) leave(id string, q *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(t.queues, id)
	}
}
