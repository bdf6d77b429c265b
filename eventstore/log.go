package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Log returns the events of all streams that were in the log when the
// iteration began, in the order of their positions, from the commit after the
// given position on; 0 is before the first. An empty rest ends at once. A
// position that the log has not reached is a [CorruptionError]: it was read
// from a log that lost commits since, or from another one.
//
// Positions have no gaps, and each commit has the form a writer gives it:
// otherwise a [CorruptionError] is yielded. Log does not follow the chains of
// the streams, as [Store.Verify] does. Commits are whole: all events of one
// come one after another.
//
// An error is yielded last, with a zero Event. The server keeps a consumer
// while the iteration runs and none after it.
func (s *Store) Log(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return s.events(ctx, after, false)
}

// Follow is [Store.Log] without an end: after the last commit it waits for the
// next. It ends with an error, which is that of the context unless something
// else happened before.
func (s *Store) Follow(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return s.events(ctx, after, true)
}

const endless = ^uint64(0)

func (s *Store) events(ctx context.Context, after uint64, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := s.commits(ctx, after, follow, func(c *commit, err error) error {
			if err != nil {
				return err
			}
			for i := range c.events {
				if !yield(c.event(i), nil) {
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
		m, at, err := cur.message(ctx)
		if errors.Is(err, errMissingEnd) {
			return each(nil, s.missing(expected, last))
		}
		if err != nil {
			return err
		}
		if at.Sequence.Stream != expected {
			if err := each(nil, s.missing(expected, min(at.Sequence.Stream-1, last))); err != nil {
				return err
			}
		}
		if at.Sequence.Stream > last {
			return nil
		}
		if err := each(s.decodeMessage(m, at)); err != nil {
			return err
		}
	}
	return nil
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
	retry := retrier{start: time.Now()}
	for {
		last, err := s.Position(ctx)
		if err != nil || last >= position {
			return last, err
		}
		err = s.corrupt(StreamID{}, position, "the log ends at position %d: it lost commits, or is another one than was read before", last)
		if s.replicas == 1 || time.Since(retry.start) > staleness {
			return last, err
		}
		if err := retry.pause(ctx, err); err != nil {
			return last, err
		}
	}
}

func (s *Store) decodeMessage(m *nats.Msg, at *nats.MsgMetadata) (*commit, error) {
	stream, ok := parseSubject(s.log, m.Subject)
	if !ok {
		return nil, s.corrupt(stream, at.Sequence.Stream, "its subject %s names no stream", clip(m.Subject))
	}
	return s.decodeStored(stream, m.Subject, m.Subject, m.Header, m.Data, at.Sequence.Stream, at.Timestamp)
}

// A cursor reads the log in order through a consumer of its own on the server,
// which it makes anew from where it stands whenever anything is odd. Nothing
// is acknowledged: the cursor itself knows what it has seen.
type cursor struct {
	*Store
	next     uint64 // position to read next
	last     uint64 // position to read to
	line     *line
	consumer string
	received uint64 // messages of this consumer
	pulled   int    // messages asked for and not come
}

const (
	pullBatch = maxPipelined
	pullBytes = 4 << 20 // of one pull, beyond its first message
	heartbeat = time.Second
	// A consumer that nobody asks for this long removes itself.
	abandoned = 30 * time.Second
)

// message returns the next message and where it stands. It waits for as long
// as the context lets it.
func (c *cursor) message(ctx context.Context) (*nats.Msg, *nats.MsgMetadata, error) {
	retry := retrier{start: time.Now()}
	for {
		m, at, err := c.receive(ctx)
		if err == nil && m != nil {
			c.pulled--
			c.next = at.Sequence.Stream + 1
			return m, at, nil
		}
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("log %s: reading at position %d: %w", c.log, c.next, ended(ctx))
		}
		if err == nil {
			retry = retrier{start: time.Now()} // idle, and the server is there
			continue
		}
		if errors.Is(err, errMissingEnd) {
			return nil, nil, err
		}
		c.close()
		if !errors.Is(err, nats.ErrConnectionClosed) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return nil, nil, c.unavailable(err)
		}
	}
}

// receive returns the next message, or neither that nor an error when all is
// well and nothing new is there.
func (c *cursor) receive(ctx context.Context) (*nats.Msg, *nats.MsgMetadata, error) {
	if err := c.open(ctx); err != nil {
		return nil, nil, err
	}
	if c.pulled <= pullBatch/2 {
		if err := c.pull(); err != nil {
			return nil, nil, err
		}
	}
	c.line.timer.Reset(3 * heartbeat)
	m, err := c.line.receive(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		return nil, nil, c.control(ctx, m)
	}
	at, err := m.Metadata()
	if err != nil {
		return nil, nil, err
	}
	// A connection that broke loses messages that the consumer counts as
	// delivered; only a fresh consumer tells what the log does not have.
	if at.Consumer != c.consumer || at.Sequence.Consumer != c.received+1 || at.Sequence.Stream < c.next {
		return nil, nil, errors.New("a message out of order")
	}
	c.received++
	return m, at, nil
}

// control acts on what the server says about the consumer.
func (c *cursor) control(ctx context.Context, m *nats.Msg) error {
	switch status(m) {
	case "100": // heartbeat: there is nothing more to deliver
		if last, err := parseNumber(m.Header.Get("Nats-Last-Consumer")); err != nil || last != c.received {
			return errors.New("messages were lost on the way")
		}
		return c.checkEnd(ctx)
	case "408", "409": // a pull is over
		unused, err := parseNumber(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			return fmt.Errorf("the server ended a pull: %s", clip(m.Header.Get("Description")))
		}
		c.pulled -= int(unused)
		return nil
	}
	return fmt.Errorf("the server answered with status %s", clip(status(m)))
}

// checkEnd is for a cursor that waits for a position which the log had when the
// walk began. If the leader cannot read anything from there on it is lost: a
// consumer passes over what it cannot read, and then waits for ever.
func (c *cursor) checkEnd(ctx context.Context) error {
	if c.last == endless {
		return nil
	}
	answer, err := c.askLeader(ctx, map[string]any{"seq": c.next, "next_by_subj": ">"})
	if err == nil && answer == nil {
		return errMissingEnd
	}
	return err
}

// errMissingEnd says that the log has nothing more, and should have.
var errMissingEnd = errors.New("the log's end is missing")

// open makes the consumer.
func (c *cursor) open(ctx context.Context) (err error) {
	if c.line != nil {
		return nil
	}
	if c.line, err = c.reads.take(); err != nil {
		return err
	}
	c.pulled, c.received = 0, 0
	c.consumer = "log-" + uuid.NewString()
	_, err = c.js.CreateConsumer(ctx, c.log, jetstream.ConsumerConfig{
		Name:              c.consumer,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       c.next,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: abandoned,
		MemoryStorage:     true,
		Replicas:          1,
	})
	return err
}

// pull asks for the next messages.
func (c *cursor) pull() error {
	const request = `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`
	c.pulled += pullBatch
	size := pullBytes + c.reads.nc.MaxPayload()
	body := fmt.Appendf(nil, request, pullBatch, size, abandoned/2, heartbeat)
	return c.reads.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.log+"."+c.consumer, c.line.reply, body)
}

// close removes the consumer from the server and drops the line, on which more
// may be under way.
func (c *cursor) close() {
	if c.line == nil {
		return
	}
	c.reads.give(c.line, false)
	c.line = nil
	// The caller's context may have ended, and the consumer must go all the
	// same. Where the server cannot be asked it goes by itself.
	ctx, cancel := context.WithTimeout(context.Background(), heartbeat)
	defer cancel()
	_ = c.js.DeleteConsumer(ctx, c.log, c.consumer)
}
