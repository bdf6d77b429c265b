package eventstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func (c *Consumer) open(ctx context.Context) error {
	last, err := c.store.reaches(ctx, c.after)
	if err != nil {
		return err
	}
	c.head.Store(last)
	if err := c.store.unchanged(ctx, c.after, c.opts.Recorded); err != nil {
		return err
	}
	cfg := c.config()
	if err := c.store.createConsumer(ctx, cfg); err != nil {
		return err
	}
	if err := c.inlet.open(c.store.log, cfg.Name, c.opts.Shared); err != nil {
		return c.failure(err)
	}
	if c.opts.Shared && last > 0 {
		return c.claim(ctx)
	}
	return nil
}

// unchanged reports an error if the commit at a position is not the one that was
// stored at that time.
func (s *Store) unchanged(ctx context.Context, position uint64, recorded time.Time) error {
	if position == 0 || recorded.IsZero() {
		return nil
	}
	m, err := s.at(ctx, position)
	switch {
	case err != nil:
		return err
	case m == nil && s.damaged:
		return nil // it may have been removed as the log's settings say
	case m == nil:
		return s.corrupt(StreamID{}, position, "the commit that was read there before is missing")
	case !m.recorded.Equal(recorded):
		return s.corrupt(StreamID{}, position, "the commit there was stored at %s, and the one that was read there before at %s: the log lost commits and went on from an older state, or is another one",
			m.recorded.UTC().Format(time.RFC3339Nano), recorded.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func (c *Consumer) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Name:              c.name,
		Durable:           c.name,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckAllPolicy,
		AckWait:           ackWait,
		MaxAckPending:     -1,
		MaxDeliver:        -1,
		InactiveThreshold: max(c.opts.Abandoned, 0),
		Metadata:          map[string]string{metaConsumer: uuid.NewString()},
	}
	maps.Copy(cfg.Metadata, c.opts.Metadata)
	first := c.next
	if c.opts.Shared {
		// The server says whose a consumer is with a message only, so one is
		// read again.
		first = max(c.after, 1)
		cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{readers}, pinnedTTL
	}
	if first > 1 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, first
	}
	if c.name == "" {
		cfg.Name = "log-" + cfg.Metadata[metaConsumer]
		cfg.AckPolicy, cfg.AckWait, cfg.MaxAckPending, cfg.MaxDeliver = jetstream.AckNonePolicy, 0, 0, 0
		cfg.InactiveThreshold = cmp.Or(cfg.InactiveThreshold, abandoned)
		cfg.MemoryStorage, cfg.Replicas = true, 1
	}
	return cfg
}

// createConsumer makes a consumer, however often the request has to be sent.
func (s *Store) createConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) error {
	retry := retrier{start: time.Now()}
	for {
		w := s.reads.watch()
		err := attempt(ctx, func(ctx context.Context) error {
			_, err := s.js.CreateConsumer(ctx, s.log, cfg)
			return err
		})
		if err == nil {
			return nil
		}
		if denied := w.deniedAPI("CONSUMER.CREATE." + s.log + "."); denied != nil {
			return s.unavailable(denied)
		}
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return &InvalidError{What: "consumer name", Value: cfg.Name, Reason: "is taken: the log has a consumer of this name"}
		}
		var refused *jetstream.APIError
		bad := errors.As(err, &refused) && refused.Code == 400
		if !bad && !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, nats.ErrConnectionClosed) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return s.unavailable(err)
		}
	}
}

// attempt bounds one request by the API of JetStream, whose answer may be lost.
func attempt(ctx context.Context, f func(context.Context) error) error {
	const longest = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return f(ctx)
}

// claim waits until the server has said that the consumer is ours. Where the log
// has nothing to say it with, the next commit does.
func (c *Consumer) claim(ctx context.Context) error {
	for c.inlet.pin == "" {
		m, err := c.inlet.receive(ctx)
		if err != nil {
			return c.failure(err)
		}
		if m == nil {
			return nil
		}
		c.take(m)
	}
	return nil
}
