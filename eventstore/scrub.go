package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// What a scrub came to.
const (
	_           uint64 = iota // it is not over
	scrubFailed               // something cannot be read, or it was interrupted
	scrubSound                // and more: the reconnects of the connection when it began
)

// After so many positions a scrub rests, so many times as long as they took: who
// opens a log has more urgent things to do with it.
const (
	scrubBatch = pullBatch
	scrubRest  = 4
)

// scrub reads all positions of a log with one replica in the background, until
// the connection is closed. The server compares each message with its checksum
// when it reads it, and passes over one that is not right. When all are there a
// server that finds no message of a subject has none.
//
// On replicas it would say something about one of them only.
func (s *Store) scrub() {
	ctx, cancel := context.WithCancel(context.Background())
	nc := s.reads.nc
	before := s.reconnects()
	closed := nc.StatusChanged(nats.CLOSED)
	if nc.IsClosed() {
		cancel()
	}
	go func() {
		defer nc.RemoveStatusListener(closed)
		select {
		case <-closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		sound := true
		err := s.positions(ctx, func(missing error) {
			sound = false
			s.report(missing)
		})
		result := scrubFailed
		if sound && err == nil {
			result = scrubSound + before
		}
		s.scrubbed.Store(result)
	}()
}

// sound reports that all of the log can be read: it could when it was opened,
// and the server did not restart since. A request that waits for the connection
// goes to the server that is there then, so an answer is sound if this holds
// after it.
func (s *Store) sound() bool {
	result := s.scrubbed.Load()
	return result >= scrubSound && result == scrubSound+s.reconnects()
}

// reconnects counts how often the connections were lost and found again.
func (s *Store) reconnects() uint64 {
	n := s.writes.nc.Stats().Reconnects
	if s.reads != s.writes {
		n += s.reads.nc.Stats().Reconnects
	}
	return n
}

// report tells of damage that no call is about.
func (s *Store) report(err error) {
	var damage *CorruptionError
	if s.onDamage != nil && errors.As(err, &damage) {
		s.onDamage(damage)
	}
}

// positions calls missing for the positions up to the log's present end that
// cannot be read.
func (s *Store) positions(ctx context.Context, missing func(error)) error {
	last, err := s.Position(ctx)
	if err != nil {
		return err
	}
	cur := cursor{Store: s, next: 1, last: last, bare: true}
	defer cur.close()
	begin := time.Now()
	for cur.next <= last {
		expected := cur.next
		if expected%scrubBatch == 0 {
			select {
			case <-time.After(scrubRest * time.Since(begin)):
			case <-ctx.Done():
			}
			begin = time.Now()
		}
		m, err := cur.message(ctx)
		if errors.Is(err, errMissingEnd) {
			missing(s.missing(expected, last))
			return nil
		}
		if err != nil {
			return err
		}
		if m.position > expected {
			missing(s.missing(expected, min(m.position-1, last)))
		}
	}
	return nil
}
