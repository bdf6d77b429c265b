package snapshot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// A request is a snapshot that waits to be saved, or one to be removed.
type request struct {
	key    string
	snap   Snapshot
	encode func() ([]byte, error) // nil: remove it
	// instead says that what is there is to be replaced, newer or not.
	instead bool
}

// A queue holds the requests in the order in which they came, at most one for
// each stream.
type queue struct {
	limit   int
	order   []*request
	waiting map[string]*request
}

func newQueue(limit int) queue {
	if limit <= 0 {
		limit = 1024
	}
	return queue{limit: limit, waiting: make(map[string]*request)}
}

func (q *queue) len() int { return len(q.order) }

// add adds a request and returns the one that was dropped for it, if any. Of two
// snapshots of a stream the newer one stays; where one is to be removed, another
// takes its place in any case.
func (q *queue) add(r *request) (dropped *request) {
	if old := q.waiting[r.key]; old != nil {
		switch {
		case r.encode == nil:
			old.instead = true // if it is one to be removed as well, it stays so
		case old.encode == nil || r.replaces(&old.snap):
			r.instead = old.instead || old.encode == nil
			*old = *r
		}
		return nil
	}
	if len(q.order) == q.limit {
		dropped = q.order[0]
		delete(q.waiting, dropped.key)
		q.order = q.order[1:]
	}
	q.order = append(q.order, r)
	q.waiting[r.key] = r
	return dropped
}

func (q *queue) take() []*request {
	all := q.order
	q.order = nil
	clear(q.waiting)
	return all
}

// replaces reports whether the request is to be saved in place of another
// snapshot: the older never replaces the newer.
func (r *request) replaces(there *Snapshot) bool {
	return r.instead || there.Log != r.snap.Log || there.Schema != r.snap.Schema || there.At.Position < r.snap.At.Position
}

// A job is something for the writer to do between saving and saving.
type job struct {
	ctx  context.Context
	do   func(context.Context) error
	done chan error // takes one
}

// write saves what waits, until the store is closed.
func (s *Store) write() {
	defer close(s.done)
	var failed error // since the last job
	for {
		<-s.wake
		timer := time.NewTimer(s.delay)
		select {
		case <-timer.C:
		case <-s.hurry:
		}
		timer.Stop()
		s.mu.Lock()
		batch, jobs, closed := s.queue.take(), s.jobs, s.closed
		s.jobs = nil
		s.mu.Unlock()
		if err := s.save(batch); failed == nil {
			failed = err
		}
		for _, j := range jobs {
			err := j.ctx.Err()
			if err == nil {
				err = j.do(j.ctx)
			}
			j.done <- errors.Join(failed, err)
		}
		if len(jobs) > 0 {
			failed = nil
		}
		if closed {
			return
		}
	}
}

// save writes a batch, a part at a time, so that the memory it takes is bounded.
func (s *Store) save(batch []*request) error {
	const enough = 4 << 20 // bytes
	var errs []error
	values := make(map[string][]byte)
	size := 0
	for _, r := range batch {
		if value, ok := s.value(r); ok {
			values[r.key] = value
			size += len(value)
		}
		if size >= enough {
			errs = append(errs, s.put(values))
			clear(values)
			size = 0
		}
	}
	return errors.Join(append(errs, s.put(values))...)
}

func (s *Store) put(values map[string][]byte) error {
	if len(values) == 0 {
		return nil
	}
	saved := uint64(0)
	for _, v := range values {
		if v != nil {
			saved++
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.backend.Put(ctx, values); err != nil {
		s.count(func(st *Stats) { st.Failed += saved })
		s.warn("cannot be saved", "error", err)
		return fmt.Errorf("snapshots: %w", err)
	}
	s.count(func(st *Stats) { st.Saved += saved })
	return nil
}

// value returns what is to be put for a request, if anything.
func (s *Store) value(r *request) ([]byte, bool) {
	if r.encode == nil {
		return nil, true
	}
	if there := s.there(r); there != nil && !r.replaces(there) {
		s.count(func(st *Stats) { st.Older++ })
		return nil, false
	}
	var err error
	if r.snap.State, err = guarded(r.encode); err == nil {
		var record []byte
		if record, err = r.snap.record(); err == nil {
			return record, true
		}
	}
	s.count(func(st *Stats) { st.Failed++ })
	s.warn("a state cannot be encoded", "stream", r.snap.Stream, "version", r.snap.At.Version, "error", err)
	return nil, false
}

// there returns the stream's snapshot in the backend, nil if it has none that
// can be read.
func (s *Store) there(r *request) *Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	record, err := s.backend.Get(ctx, r.key)
	if err != nil || record == nil {
		return nil
	}
	snap, err := parse(r.snap.Stream, record)
	if err != nil {
		return nil
	}
	return snap
}

// guarded calls what encodes a state. A panic of a program's own marshaler is an
// error here: nobody would expect it in this goroutine.
func guarded(encode func() ([]byte, error)) (state []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return encode()
}
