package eventstore

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// LogOptions choose events of the log. The zero value of each field is its
// default: all.
type LogOptions struct {
	// Kinds are those whose streams are wanted.
	Kinds []string
	// Types are the event types that are wanted, in streams of any of the
	// kinds.
	Types []string
}

// Log returns the events of all streams that were in the log when the
// iteration began, in the order of their positions, from the commit after the
// given position on; 0 is before the first, and [Store.Position] the last now.
// An empty rest ends at once. A position that the log has not reached is a
// [CorruptionError]: it was read from a log that lost commits since, or from
// another one.
//
// Options choose what is yielded, not what is read: the server sends the whole
// log, without which a lost commit could not be told from one that was not
// chosen.
//
// Positions have no gaps, and each commit has the form a writer gives it:
// otherwise a [CorruptionError] is yielded. Log does not follow the chains of
// the streams, as [Store.Verify] does. Commits are whole: all events of one
// come one after another.
//
// An error is yielded last, with a zero Event. The server keeps a consumer
// while the iteration runs and none after it.
func (s *Store) Log(ctx context.Context, after uint64, opts *LogOptions) iter.Seq2[Event, error] {
	return s.events(ctx, after, opts, false)
}

// Follow is [Store.Log] without an end: after the last commit it waits for the
// next. It ends with an error, which is that of the context unless something
// else happened before.
func (s *Store) Follow(ctx context.Context, after uint64, opts *LogOptions) iter.Seq2[Event, error] {
	return s.events(ctx, after, opts, true)
}

const endless = ^uint64(0)

func (s *Store) events(ctx context.Context, after uint64, opts *LogOptions, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		wanted, err := opts.check()
		if err != nil {
			yield(Event{}, err)
			return
		}
		err = s.commits(ctx, after, follow, func(c *commit, err error) error {
			if err != nil {
				return err
			}
			if !chosen(wanted.Kinds, c.stream.Kind) {
				return nil
			}
			for i := range c.events {
				if chosen(wanted.Types, c.events[i].Type) && !yield(c.event(i), nil) {
					return errStopped
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// check returns the options by value. A name that no stream or event can have
// is a mistake.
func (o *LogOptions) check() (LogOptions, error) {
	if o == nil {
		return LogOptions{}, nil
	}
	for _, kind := range o.Kinds {
		if err := checkToken("stream kind", kind); err != nil {
			return LogOptions{}, err
		}
	}
	for _, typ := range o.Types {
		if err := checkName("event type", typ); err != nil {
			return LogOptions{}, err
		}
	}
	return *o, nil
}

// chosen reports whether a name is among those wanted, of which none is all.
func chosen(wanted []string, name string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, name)
}

// commits hands over the commits after a position up to the log's present end,
// or without an end, each or why there is none: damage, with which the caller
// may end the walk or go on.
func (s *Store) commits(ctx context.Context, after uint64, follow bool, each func(*commit, error) error) error {
	last, err := s.reaches(ctx, after)
	if err != nil || !follow && after == last {
		return err
	}
	if follow {
		last = endless
	}
	cur := cursor{Store: s, next: after + 1, last: last}
	defer cur.close()
	for cur.next <= last {
		expected := cur.next
		m, err := cur.message(ctx)
		end := last
		switch {
		case err == nil:
			end = min(m.position-1, last)
		case !errors.Is(err, errMissingEnd):
			return err
		}
		if expected <= end {
			if err := s.fill(ctx, expected, end, each); err != nil {
				return err
			}
		}
		if m == nil || m.position > last {
			return nil
		}
		if err := each(s.decodeAny(m)); err != nil {
			return err
		}
	}
	return nil
}

// fill is for positions of which the consumer had nothing. They are lost only
// if no other replica has them.
func (s *Store) fill(ctx context.Context, first, last uint64, each func(*commit, error) error) error {
	if s.replicas == 1 {
		return each(nil, s.missing(first, last))
	}
	for p := first; p <= last; p++ {
		m, err := s.at(ctx, p)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if first < p {
			if err := each(nil, s.missing(first, p-1)); err != nil {
				return err
			}
		}
		if err := each(s.decodeAny(m)); err != nil {
			return err
		}
		first = p + 1
	}
	if first > last {
		return nil
	}
	return each(nil, s.missing(first, last))
}

func (s *Store) missing(first, last uint64) error {
	if first == last {
		return s.corrupt(StreamID{}, first, "the commit there is missing")
	}
	return s.corrupt(StreamID{}, first, "the commits from there to position %d are missing", last)
}

// reaches returns the log's last position, which must not be before one that
// was read once.
func (s *Store) reaches(ctx context.Context, position uint64) (uint64, error) {
	var retry retrier
	for {
		last, err := s.Position(ctx)
		if err != nil || last >= position {
			return last, err
		}
		if retry.attempts == 0 {
			retry.start = time.Now()
		}
		err = s.corrupt(StreamID{}, position, "the log ends at position %d: it lost commits, or is another one than was read before", last)
		if s.replicas == 1 || time.Since(retry.start) > staleness {
			return last, err
		}
		if err := retry.pause(ctx, errBehind); err != nil {
			return last, s.unavailable(err)
		}
	}
}

// decodeAny decodes a message of whatever stream.
func (s *Store) decodeAny(m *stored) (*commit, error) {
	stream, err := s.streamOf(m)
	if err != nil {
		return nil, err
	}
	return s.decodeStored(stream, m.subject, m)
}

// streamOf returns the stream that a message belongs to by its subject.
func (s *Store) streamOf(m *stored) (StreamID, error) {
	stream, ok := parseSubject(s.log, m.subject)
	if !ok {
		return StreamID{}, s.corrupt(stream, m.position, "its subject %s names no stream", clip(m.subject))
	}
	return stream, nil
}
