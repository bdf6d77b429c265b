package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Info tells about a snapshot that is there.
type Info struct {
	Stream      eventstore.StreamID
	Log, Schema string
	Version     uint64 // of the stream
	Position    uint64
	Taken       time.Time
	Size        int   // in bytes, with all that belongs to it
	Damage      error // why it cannot be used; the fields but Stream and Size are then zero
}

// List yields what is there, in any order, saved before the call or also during
// it. An error is yielded last, with a zero Info.
func (s *Store) List(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := s.Flush(ctx); err != nil {
			yield(Info{}, err)
			return
		}
		for e, err := range s.backend.All(ctx) {
			if err != nil {
				yield(Info{}, fmt.Errorf("snapshots: %w", err))
				return
			}
			if !yield(e.info(), nil) {
				return
			}
		}
	}
}

func (e Entry) info() Info {
	stream, err := parseKey(e.Key)
	info := Info{Stream: stream, Size: len(e.Value), Damage: err}
	if err != nil {
		return info
	}
	snap, err := parse(stream, e.Value)
	if err != nil {
		info.Damage = err
		return info
	}
	info.Log, info.Schema, info.Taken = snap.Log, snap.Schema, snap.Taken
	info.Version, info.Position = snap.At.Version, snap.At.Position
	return info
}

// Prune removes the snapshots that it is told to, and returns how many. A stream
// that gets a newer one meanwhile may lose that too. The error is that of
// the backend, [ErrClosed], or that of the context.
func (s *Store) Prune(ctx context.Context, remove func(Info) bool) (removed int, err error) {
	const chunk = 1000
	values := make(map[string][]byte)
	flush := func() error {
		n := len(values)
		err := s.do(ctx, func(ctx context.Context) error { return s.backend.Put(ctx, values) })
		if err == nil {
			removed += n
			values = make(map[string][]byte)
		}
		return err
	}
	for e, err := range s.backend.All(ctx) {
		if errors.Is(err, ErrClosed) {
			return removed, ErrClosed
		}
		if err != nil {
			return removed, fmt.Errorf("snapshots: %w", err)
		}
		if remove(e.info()) {
			values[e.Key] = nil
		}
		if len(values) == chunk {
			if err := flush(); err != nil {
				return removed, err
			}
		}
	}
	if len(values) == 0 {
		return removed, s.Flush(ctx)
	}
	return removed, flush()
}

// Compact makes a file as small as its snapshots are: bbolt uses the space of
// what was removed again and does not give it back. It takes as much space
// again, and time to copy; loads go on meanwhile, saves wait. A backend other
// than a file does the same if it has a method Compact of the same form; without
// one the error matches [errors.ErrUnsupported]. Otherwise it is that of the file,
// which stays as it is, [ErrClosed], or that of the context.
func (s *Store) Compact(ctx context.Context) error {
	c, ok := s.backend.(interface{ Compact(context.Context) error })
	if !ok {
		return fmt.Errorf("snapshots: compact: %w", errors.ErrUnsupported)
	}
	return s.do(ctx, c.Compact)
}
