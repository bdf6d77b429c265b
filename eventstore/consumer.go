package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Delivery is a commit as a [Consumer] returns it, whole.
type Delivery struct {
	Position uint64
	Recorded time.Time // when the log stored it, by the server's clock; UTC
	// Events are all events of the commit, none if its kind is not among
	// ConsumerOptions.Kinds.
	Events []Event
}

// ConsumerOptions say how a [Consumer] reads. The zero value of each field is
// its default.
type ConsumerOptions struct {
	// Kinds are those whose commits are decoded. The commits of others are
	// delivered without events, at less cost. Default: all.
	Kinds []string
	// Recorded is when the commit was stored after which the consumer begins,
	// as a Delivery said, to the nanosecond. If the log has another commit
	// there now, it is not the one that was read. Default: not checked.
	Recorded time.Time
	// Shared is for a consumer that several processes may want to read, of
	// which one does, the others waiting in [Store.Standby]. The one that reads
	// keeps it as long as it lives, however slow, and loses it within about 2
	// seconds when it does not. This is no fence: who lost it may not know yet.
	Shared bool
	// Metadata is of the consumer on the server, for people to read.
	Metadata map[string]string
	// Abandoned is for how long nobody has read from the consumer when the server
	// removes it; where deliveries were not acknowledged, a day later. Default:
	// never, and 30 seconds for one without a name.
	Abandoned time.Duration
}

// Consumer delivers the commits of a log in order, from a consumer on the
// server, where its progress can be seen. What was processed is known to
// whoever processes it, and not to the consumer, which has no memory: it ends
// at the first doubt, and its user makes another, of another name, where it
// left off.
//
// Next and Close are for one goroutine at a time, the other methods for any.
type Consumer struct {
	store *Store
	name  string
	opts  ConsumerOptions
	after uint64
	err   error // why it ended

	next  uint64  // position to deliver next
	gap   uint64  // last position that the consumer passed over
	held  *stored // message after the gap
	inlet inlet
	head  atomic.Uint64
	acks  acks

	stop    chan struct{}
	stopped sync.WaitGroup
}

const (
	pinnedTTL = 2 * time.Second
	keepPin   = pinnedTTL / 5
	// readers is the name of the one priority group of a shared consumer.
	readers = "readers"
	// Nothing is delivered twice by one consumer: this is for ever.
	ackWait = 24 * time.Hour
	// metaConsumer tells consumers apart that somebody gave the same name.
	metaConsumer = "headwater-consumer"
)

// Consume makes a consumer on the server, which delivers the log after a
// position: 0 is before the first commit. The name is 1 to 64 letters, digits,
// '-' and '_'; another, and one that is taken, is an [InvalidError]. It stays on
// the server until [Store.RemoveConsumer], or as the options say.
//
// A consumer without a name is for reading once: the server keeps it in memory,
// knows no progress of it, and removes it with Close.
//
// A position that the log has not reached, and one where it has another commit
// than Options.Recorded says, is a [CorruptionError]: the position was read from
// a log that lost commits since, or from another one. Any other error matches
// [ErrUnavailable].
func (s *Store) Consume(ctx context.Context, name string, after uint64, opts *ConsumerOptions) (*Consumer, error) {
	c := &Consumer{store: s, name: name, after: after, next: after + 1, stop: make(chan struct{})}
	if opts != nil {
		c.opts = *opts
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.inlet.begin(s.reads)
	if err := c.open(ctx); err != nil {
		c.discard()
		return nil, err
	}
	c.keep()
	return c, nil
}

func (c *Consumer) check() error {
	if c.name == "" && c.opts.Shared {
		return &InvalidError{What: "consumer name", Reason: "must not be empty where the consumer is shared"}
	}
	if c.name != "" {
		if err := checkToken("consumer name", c.name); err != nil {
			return err
		}
	}
	_, err := (&LogOptions{Kinds: c.opts.Kinds}).check()
	return err
}

// Next waits for the next commit. An error is final, the context's excepted: the
// next call goes on then.
//
// A commit that the log does not hold any more, or that is none, is a
// [CorruptionError]. When anything is odd, the error matches [ErrUnavailable]
// and says what it was: the server or the connection was away, a message did not
// arrive, the consumer was removed, or it is read by another process now. The
// commits returned before are as good as ever, and the user calls
// [Store.Consume] again after the last of them that it has kept.
func (c *Consumer) Next(ctx context.Context) (Delivery, error) {
	if c.err != nil {
		return Delivery{}, c.err
	}
	m, err := c.message(ctx)
	if err != nil && ctx.Err() != nil {
		return Delivery{}, fmt.Errorf("log %s: reading at position %d: %w", c.store.log, c.next, ended(ctx))
	}
	var d Delivery
	if err == nil {
		d, err = c.delivery(m)
	}
	if err != nil {
		c.err = c.failure(err)
		return Delivery{}, c.err
	}
	c.next++
	return d, nil
}

// failure is the error for the user.
func (c *Consumer) failure(err error) error {
	if denied := c.inlet.watch.deniedAPI("CONSUMER.MSG.NEXT." + c.store.log + "."); denied != nil {
		return c.store.unavailable(denied)
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return c.store.unavailable(fmt.Errorf("the consumer ended before position %d: %w", c.next, err))
}

// message returns the message at the next position.
func (c *Consumer) message(ctx context.Context) (*stored, error) {
	for {
		if c.next <= c.gap {
			return c.elsewhere(ctx)
		}
		if m := c.held; m != nil {
			c.held = nil
			return m, nil
		}
		m, err := c.inlet.receive(ctx)
		switch {
		case err != nil:
			return nil, err
		case m != nil:
			c.take(m)
		case c.inlet.last >= c.next:
			c.gap = c.inlet.last // it waits for what comes after
		}
	}
}

// take holds a message that arrived until it is its turn.
func (c *Consumer) take(m *stored) {
	c.acks.add(m.position, c.inlet.got, c.inlet.prefix)
	c.head.Store(m.position + c.inlet.pending)
	if m.position < c.next {
		return
	}
	c.gap, c.held = m.position-1, m
}

// elsewhere is for a position of which the consumer had nothing. It is lost only
// if no other replica has it.
func (c *Consumer) elsewhere(ctx context.Context) (*stored, error) {
	if c.store.replicas == 1 {
		return nil, c.store.missing(c.next, c.gap)
	}
	m, err := c.store.at(ctx, c.next)
	if err == nil && m == nil {
		err = c.store.missing(c.next, c.next)
	}
	return m, err
}

func (c *Consumer) delivery(m *stored) (Delivery, error) {
	stream, err := c.store.streamOf(m)
	if err != nil {
		return Delivery{}, err
	}
	d := Delivery{Position: m.position, Recorded: m.recorded.UTC()}
	if !chosen(c.opts.Kinds, stream.Kind) {
		return d, nil
	}
	found, err := c.store.decodeStored(stream, m.subject, m)
	if err != nil {
		return Delivery{}, err
	}
	d.Events = make([]Event, len(found.events))
	for i := range d.Events {
		d.Events[i] = found.event(i)
	}
	return d, nil
}

// Done tells the server that all commits up to a position are processed, of those
// that Next returned. It sends that and does not wait. Nothing but the lag that
// the server shows depends on it, so it need not be called for each commit.
func (c *Consumer) Done(position uint64) {
	if c.name == "" {
		return
	}
	if subj := c.acks.upTo(position); subj != "" {
		// The connection may be gone, and with it the consumer's use.
		_ = c.store.reads.nc.Publish(subj, nil)
	}
}

// Head returns the position of the log's last commit as far as the consumer
// knows: as it was when the server sent what Next returned last.
func (c *Consumer) Head() uint64 { return c.head.Load() }

// Close ends the reading. A shared consumer is given back, for who stands by. Unless the consumer has no name, it stays on the
// server. Close may be called more than once.
func (c *Consumer) Close() {
	if c.err == nil {
		c.err = c.store.unavailable(errors.New("the consumer is closed"))
	}
	select {
	case <-c.stop:
		return
	default:
	}
	close(c.stop)
	c.stopped.Wait()
	c.acks.close()
	name := c.inlet.name
	c.inlet.close()
	switch {
	case c.name == "":
		c.store.dropConsumer(name)
	case c.opts.Shared:
		c.store.unpin(name)
	}
}

// unpin tells the server that a shared consumer is anybody's, if that can be done now:
// who stands by need not wait then until it seems abandoned.
func (s *Store) unpin(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), heartbeat)
	defer cancel()
	if stream, err := s.js.Stream(ctx, s.log); err == nil {
		_ = stream.UnpinConsumer(ctx, name, readers)
	}
}

// discard is for a consumer that did not come to be.
func (c *Consumer) discard() {
	name := c.inlet.name
	c.inlet.close()
	if name != "" {
		c.store.dropConsumer(name)
	}
}

// dropConsumer removes a consumer if that can be done now. The caller's context
// may have ended, and the consumer must go all the same.
func (s *Store) dropConsumer(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), heartbeat)
	defer cancel()
	_ = s.js.DeleteConsumer(ctx, s.log, name)
}

// keep tells the server again and again that somebody reads the consumer, while
// Next is not called for a while.
func (c *Consumer) keep() {
	every := keepPin
	if !c.opts.Shared {
		if every = c.config().InactiveThreshold / 4; every == 0 {
			return
		}
	}
	c.stopped.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.inlet.remind()
			case <-c.stop:
				return
			}
		}
	})
}
