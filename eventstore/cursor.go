package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A cursor reads the log in order through a consumer of its own on the server,
// which it makes anew from where it stands whenever anything is odd. Nothing
// is acknowledged: the cursor itself knows what it has seen.
type cursor struct {
	*Store
	next    uint64  // position to read next
	last    uint64  // position to read to
	bare    bool    // without the messages' data
	heads   string  // of each of these subjects its last message, and no others
	seen    *stored // last
	opened  bool
	line    *line
	name    string // of the consumer
	pending uint64 // messages that the consumer began with
	got     uint64 // messages of this consumer
	pulled  int    // messages asked for and not come
}

const (
	pullBatch = maxPipelined
	pullBytes = 4 << 20 // of one pull, beyond its first message
	heartbeat = time.Second
	// A consumer that nobody asks for this long removes itself.
	abandoned = 30 * time.Second
)

// errEnd says that the cursor has all that it was to read.
var errEnd = errors.New("end")

// message returns the next message. It waits for as long as the context lets
// it.
func (c *cursor) message(ctx context.Context) (*stored, error) {
	retry := retrier{start: time.Now()}
	for {
		w := c.reads.watch()
		m, err := c.receive(ctx)
		if err == nil && m != nil {
			c.next, c.seen = m.position+1, m
			return m, nil
		}
		if denied := c.denied(w, err); denied != nil {
			return nil, c.unavailable(denied)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("log %s: reading at position %d: %w", c.log, c.next, ended(ctx))
		}
		if err == nil {
			retry = retrier{start: time.Now()} // idle, and the server is there
			continue
		}
		if errors.Is(err, errMissingEnd) || errors.Is(err, errEnd) || errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		c.close()
		if !errors.Is(err, nats.ErrConnectionClosed) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return nil, c.unavailable(err)
		}
	}
}

// denied returns what the server did not permit of all that the cursor asks for, if
// that is why there is an error.
func (c *cursor) denied(w watch, err error) error {
	var denied *DeniedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &denied):
		return denied
	case c.line != nil && w.denied(c.line.prefix) != nil:
		return w.denied(c.line.prefix)
	}
	return w.deniedAPI("CONSUMER.MSG.NEXT."+c.log+".", "CONSUMER.INFO."+c.log+".")
}

// receive returns the next message, or neither that nor an error when all is
// well and nothing new is there.
func (c *cursor) receive(ctx context.Context) (*stored, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if c.heads != "" && c.got == c.pending {
		return nil, errEnd
	}
	if c.pulled <= pullBatch/2 {
		if err := c.pull(); err != nil {
			return nil, err
		}
	}
	c.line.timer.Reset(3 * heartbeat)
	m, err := c.line.receive(ctx)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		return nil, c.control(ctx, m)
	}
	at, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	// A connection that broke loses messages that the consumer counts as
	// delivered; only a fresh consumer tells what the log does not have.
	known := at.Sequence.Stream < c.next
	if at.Consumer != c.name || at.Sequence.Consumer != c.got+1 || known && c.heads == "" {
		return nil, errors.New("a message out of order")
	}
	c.got++
	c.pulled--
	if known {
		return nil, nil
	}
	return &stored{m.Subject, at.Sequence.Stream, m.Header, m.Data, at.Timestamp}, nil
}

// control acts on what the server says about the consumer.
func (c *cursor) control(ctx context.Context, m *nats.Msg) error {
	switch status(m) {
	case "100": // heartbeat: there is nothing more to deliver
		if last, err := parseNumber(m.Header.Get("Nats-Last-Consumer")); err != nil || last != c.got {
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

// checkEnd is for a cursor that waits for what was there when the walk began. A
// consumer passes over what its server cannot read, and then waits for ever.
func (c *cursor) checkEnd(ctx context.Context) error {
	switch {
	case c.heads != "":
		info, err := c.js.Consumer(ctx, c.log, c.name)
		if err == nil && info.CachedInfo().NumPending == 0 && info.CachedInfo().Delivered.Consumer == c.got {
			err = errMissingEnd
		}
		return err
	case c.last == endless:
		return nil
	}
	m, err := c.askLeader(ctx, map[string]any{"seq": c.next, "next_by_subj": ">"})
	if err != nil {
		return err
	}
	if m == nil {
		return errMissingEnd
	}
	return errors.New("a message was passed over")
}

// errMissingEnd says that there is nothing more, and should be.
var errMissingEnd = errors.New("the log's end is missing")

// open makes the consumer.
func (c *cursor) open(ctx context.Context) (err error) {
	if c.line != nil {
		return nil
	}
	if c.opened {
		if err := c.same(ctx); err != nil {
			return err
		}
	}
	c.opened = true
	if c.line, err = c.reads.take(); err != nil {
		return err
	}
	c.pulled, c.got = 0, 0
	c.name = "log-" + uuid.NewString()
	cfg := jetstream.ConsumerConfig{
		Name:              c.name,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       c.next,
		HeadersOnly:       c.bare,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: abandoned,
		MemoryStorage:     true,
		Replicas:          1,
	}
	wait := 5 * time.Second
	if c.heads != "" {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.FilterSubject = jetstream.DeliverLastPerSubjectPolicy, 0, c.heads
		wait = patience // the server looks up all of them first, about a million a second
	}
	return c.create(ctx, cfg, wait)
}

// create asks for the consumer.
func (c *cursor) create(ctx context.Context, cfg jetstream.ConsumerConfig, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	w := c.reads.watch()
	request := "CONSUMER.CREATE." + c.log + "."
	refused := func() error {
		// With a filter the subject goes on.
		if denied := w.deniedAPI(request+c.name, request+c.name+"."); denied != nil {
			return denied
		}
		if w.denied("$JS.API.CONSUMER.") != nil {
			return errOverheard
		}
		return nil
	}
	return heed(ctx, refused, func(ctx context.Context) error {
		consumer, err := c.js.CreateConsumer(ctx, c.log, cfg)
		if err == nil {
			c.pending = consumer.CachedInfo().NumPending
		}
		return err
	})
}

// errOverheard says that another cursor was not permitted something. The connection
// knows of the last refusal only, so this cursor may have been refused just before.
var errOverheard = errors.New("no answer while the server refused something else")

// same reports an error if the log is not the one any more that the cursor has
// read: the server may have restarted with less, or with an older copy, and gone
// on from there.
func (c *cursor) same(ctx context.Context) error {
	if c.heads != "" {
		return nil
	}
	have, err := c.count(ctx, "")
	if err != nil {
		return err
	}
	if have.log != c.identity {
		return c.corrupt(StreamID{}, have.last, "this is another log than before, although of the same name")
	}
	if _, err := c.reaches(ctx, c.next-1); err != nil || c.seen == nil {
		return err
	}
	m, err := c.at(ctx, c.seen.position)
	switch {
	case err != nil:
		return err
	case m == nil && c.damaged:
		return nil // it may have been removed as the log's settings say
	case m == nil:
		return c.corrupt(StreamID{}, c.seen.position, "the commit that was read there before is missing")
	case m.subject != c.seen.subject || !m.recorded.Equal(c.seen.recorded):
		return c.corrupt(StreamID{}, c.seen.position, "another commit was read there before: the log lost commits and went on from an older state")
	}
	return nil
}

// pull asks for the next messages.
func (c *cursor) pull() error {
	const request = `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`
	c.pulled += pullBatch
	size := pullBytes + c.reads.nc.MaxPayload()
	body := fmt.Appendf(nil, request, pullBatch, size, abandoned/2, heartbeat)
	return c.reads.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.log+"."+c.name, c.line.reply, body)
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
	_ = c.js.DeleteConsumer(ctx, c.log, c.name)
}
