package eventstore

import (
	"context"
	"errors"
	"iter"
	"time"
)

// StreamHead is where a stream stands, as [Store.Streams] lists it.
type StreamHead struct {
	Stream   StreamID
	Revision Revision
	Time     time.Time // of the last commit, as its writer said; UTC
	Recorded time.Time // when the log stored the last commit; UTC
}

// Streams lists the streams of a kind, or of all kinds if that is empty, that
// the log has when the iteration begins, and where each stands. They come in
// the order of their last commits. Only those whose last commit is after the
// given position are listed: with 0 all of them, with the position of one of
// them the page that follows it, and later those that have changed since.
//
// The events are not read, and memory does not grow with the number of
// streams. But the server looks all of them up first, and appends to the log
// wait for that: roughly a second for a million streams. It does so for each
// page, and sends what comes before it as well: prefer one iteration to many
// pages. Where the connection is lost during the iteration, or a replica is
// behind, a stream that changes meanwhile may come a second time.
//
// An error is yielded last, with a zero StreamHead. It is a [CorruptionError]
// where the last commit of a stream cannot be read.
func (s *Store) Streams(ctx context.Context, kind string, after uint64) iter.Seq2[StreamHead, error] {
	return func(yield func(StreamHead, error) bool) {
		err := s.heads(ctx, kind, after, func(h StreamHead) bool { return yield(h, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(StreamHead{}, err)
		}
	}
}

func (s *Store) heads(ctx context.Context, kind string, after uint64, yield func(StreamHead) bool) error {
	if kind == "" {
		kind = "*"
	} else if err := checkToken("stream kind", kind); err != nil {
		return err
	}
	if _, err := s.reaches(ctx, after); err != nil {
		return err
	}
	cur := cursor{Store: s, next: after + 1, last: endless, bare: true, heads: s.log + "." + kind + ".*"}
	defer cur.close()
	newest := uint64(0)
	if s.replicas > 1 {
		m, err := s.askLeader(ctx, map[string]any{"last_by_subj": cur.heads})
		if err != nil || m == nil {
			return err
		}
		newest = m.position
	}
	retry := retrier{start: time.Now()}
	for {
		m, err := cur.message(ctx)
		switch {
		case errors.Is(err, errEnd) && cur.next <= newest:
			cur.close()
			if err := retry.pause(ctx, errors.New("a replica is behind")); err != nil {
				return s.unavailable(err)
			}
			continue
		case errors.Is(err, errEnd):
			return nil
		case errors.Is(err, errMissingEnd):
			return s.corrupt(StreamID{}, cur.next, "the last commits of %d streams cannot be read", cur.pending-cur.got)
		case err != nil:
			return err
		}
		stream, ok := parseSubject(s.log, m.subject)
		if !ok {
			return s.corrupt(stream, m.position, "its subject %s names no stream", clip(m.subject))
		}
		head, at, err := decodeHead(stream, m)
		if err != nil {
			return s.corrupt(stream, m.position, "%v", err)
		}
		if !yield(StreamHead{stream, head.revision(s.identity, stream), at, m.recorded.UTC()}) {
			return errStopped
		}
	}
}
