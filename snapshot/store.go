package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Store keeps snapshots, at most one for each stream. It may be used from
// several goroutines.
type Store struct {
	*ledger
	backend Backend
	delay   time.Duration

	mu     sync.Mutex
	queue  queue
	jobs   []job // for the writer
	closed bool

	wake, hurry chan struct{} // each holds one
	done        chan struct{} // closed when the writer has ended
	closing     sync.Once
	closeErr    error
}

// Options are what a store may be opened with. The zero value of each field is
// its default.
type Options struct {
	// Queue is how many snapshots may wait to be saved; the oldest is dropped
	// for one more. Default 1024.
	Queue int
	// Logger is told, once for each kind of them, about snapshots and files that
	// cannot be used and what cannot be saved. Nil: nobody is; [Store.Stats]
	// counts them.
	Logger *slog.Logger
}

const (
	// delay is for how long snapshots are collected and then saved together.
	delay = 100 * time.Millisecond
	// patience bounds each call of a backend.
	patience = 30 * time.Second
)

// Open opens the file of snapshots at path, and creates it where there is none.
// Beside it are a lock file, whose name ends in ".lock", and where a file was
// damaged that file, its name ending in ".damaged". Close the store in the end.
//
// One process can have a file open at a time; for another one the error is a
// [LockedError]. A file that is damaged is set aside and a new one made. One that
// cannot be written, for lack of permission for example, is used as it is.
// Where there is none, and none can be made, the error is that of the operating
// system.
func Open(path string, opts *Options) (*Store, error) {
	s := newStore(opts)
	file, err := openFile(path, s.ledger)
	if err != nil {
		return nil, err
	}
	return s.start(file), nil
}

// New returns a store on another backend than a file. Close the store in the
// end, which closes the backend.
func New(backend Backend, opts *Options) *Store { return newStore(opts).start(backend) }

func newStore(opts *Options) *Store {
	if opts == nil {
		opts = &Options{}
	}
	s := &Store{
		ledger: newLedger(opts.Logger), delay: delay, queue: newQueue(opts.Queue),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), done: make(chan struct{}),
	}
	return s
}

func (s *Store) start(backend Backend) *Store {
	s.backend = backend
	go s.write()
	return s
}

// Load returns the snapshot of a stream, of a log and a schema, and whether there
// is one. One that is damaged, or of another log or schema, is none.
func (s *Store) Load(ctx context.Context, stream eventstore.StreamID, log, schema string) (Snapshot, bool) {
	snap := s.load(ctx, stream, log, schema)
	s.count(func(st *Stats) {
		if snap == nil {
			st.Misses++
		} else {
			st.Hits++
		}
	})
	if snap == nil {
		return Snapshot{}, false
	}
	return *snap, true
}

func (s *Store) load(ctx context.Context, stream eventstore.StreamID, log, schema string) *Snapshot {
	record, err := s.backend.Get(ctx, key(stream))
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		s.count(func(st *Stats) { st.Unreadable++ })
		s.warn("cannot be read; states are folded from the log", "error", err)
	}
	if err != nil || record == nil {
		return nil
	}
	snap, err := parse(stream, record)
	switch {
	case err != nil:
		s.count(func(st *Stats) { st.Damaged++ })
		s.warn("one is damaged and not used", "stream", stream, "error", err)
		s.remove(stream)
	case snap.Log != log:
		s.count(func(st *Stats) { st.OtherLog++ })
		s.warn("one is of another log and not used", "stream", stream, "of", snap.Log, "log", log)
		return nil
	case snap.Schema != schema:
		s.count(func(st *Stats) { st.OtherSchema++ })
		s.warn("one has another schema and is not used", "stream", stream, "schema", snap.Schema, "wanted", schema)
		return nil
	default:
		return snap
	}
	return nil
}

// Discard removes a snapshot that Load returned and that is not what it was
// taken for: it has no place in the log's history, which then was cut or
// replaced, or its state cannot be decoded.
func (s *Store) Discard(snap Snapshot, why error) {
	s.count(func(st *Stats) { st.Discarded++ })
	s.warn("one is not of the log's history, or cannot be decoded, and is discarded", "stream", snap.Stream, "version", snap.At.Version, "error", why)
	s.remove(snap.Stream)
}

func (s *Store) remove(stream eventstore.StreamID) {
	s.enqueue(&request{key: key(stream), snap: Snapshot{Stream: stream}})
}

// Save hands a snapshot over to be saved, and returns at once: its state is
// encoded, and it is written, by another goroutine, with others that come within
// a tenth of a second. Of the snapshots of a stream the one at the highest
// position stays. If they come faster than they can be written, the oldest
// are dropped.
func (s *Store) Save(snap Snapshot, encode func() ([]byte, error)) {
	if snap.Taken.IsZero() {
		snap.Taken = time.Now()
	}
	s.enqueue(&request{key: key(snap.Stream), snap: snap, encode: encode})
}

func (s *Store) enqueue(r *request) {
	s.mu.Lock()
	dropped := r
	if !s.closed {
		dropped = s.queue.add(r)
	}
	half := s.queue.len() >= s.queue.limit/2
	s.mu.Unlock()
	if dropped != nil && dropped.encode != nil {
		s.count(func(st *Stats) { st.Dropped++ })
	}
	signal(s.wake)
	if half {
		signal(s.hurry)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	waiting := s.queue.len()
	s.mu.Unlock()
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	stats := s.stats
	stats.Waiting = waiting
	return stats
}

// Flush saves what was handed over before the call. The error says what could
// not be written since the last Flush, or is [ErrClosed] or that of the context.
// A state that cannot be encoded is no error, but counted.
func (s *Store) Flush(ctx context.Context) error {
	return s.do(ctx, func(context.Context) error { return nil })
}

// do lets the writer do something after it has saved what waits now.
func (s *Store) do(ctx context.Context, f func(context.Context) error) error {
	j := job{ctx: ctx, do: f, done: make(chan error, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.jobs = append(s.jobs, j)
	s.mu.Unlock()
	signal(s.wake)
	signal(s.hurry)
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("snapshots: %w", ctx.Err())
	}
}

// Close saves what was handed over, and closes the file. It may be called again,
// and then returns the same. The error says that something could not be written
// or closed; the snapshots that were written can be used all the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		flushed := make(chan error, 1)
		s.mu.Lock()
		s.closed = true
		s.jobs = append(s.jobs, job{context.Background(), func(context.Context) error { return nil }, flushed})
		s.mu.Unlock()
		signal(s.wake)
		signal(s.hurry)
		<-s.done
		s.closeErr = <-flushed
		if err := s.backend.Close(); s.closeErr == nil {
			s.closeErr = err
		}
	})
	return s.closeErr
}
