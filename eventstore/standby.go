package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Standby waits while another process reads a consumer that is Shared, see
// [ConsumerOptions]. It returns nil when this process should take over: the
// other one has not been heard of for about 2 seconds, or the consumer is gone.
// The consumer is then of no more use: whoever takes over makes another one,
// after the last commit that is known to be processed, and removes this one.
//
// Several processes may be told to take over, and the other may go on, so they
// must agree by other means, such as a compare-and-set of that position. An
// error is the context's, or matches [ErrUnavailable], or is an [InvalidError]:
// the consumer is not Shared.
func (s *Store) Standby(ctx context.Context, name string) error {
	if err := checkToken("consumer name", name); err != nil {
		return err
	}
	retry := retrier{start: time.Now()}
	for {
		w := s.reads.watch()
		free, err := s.standby(ctx, name)
		denied := w.deniedAPI("CONSUMER.INFO."+s.log+"."+name, "CONSUMER.MSG.NEXT."+s.log+"."+name)
		var invalid *InvalidError
		switch {
		case err == nil && free:
			return nil
		case err == nil || errors.As(err, &invalid):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("log %s: waiting for consumer %s: %w", s.log, name, ended(ctx))
		case denied != nil:
			return s.unavailable(denied)
		}
		if !errors.Is(err, errWaited) {
			err = retry.pause(ctx, err)
		} else {
			retry, err = retrier{start: time.Now()}, nil
		}
		if err != nil {
			return s.unavailable(err)
		}
	}
}

// errWaited says that a wait was all right while it lasted.
var errWaited = errors.New("waited")

// standby asks for a message, which comes when nobody else is to have it.
func (s *Store) standby(ctx context.Context, name string) (free bool, err error) {
	if free, err := s.unread(ctx, name); free || err != nil {
		return free, err
	}
	l, err := s.reads.take()
	if err != nil {
		return false, err
	}
	defer s.reads.give(l, false)
	const pull = `{"batch":1,"expires":%d,"idle_heartbeat":%d,"group":%q}`
	body := fmt.Appendf(nil, pull, abandoned/2, heartbeat, readers)
	if err := s.reads.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+s.log+"."+name, l.reply, body); err != nil {
		return false, err
	}
	for waited := false; ; waited = true {
		l.timer.Reset(3 * heartbeat)
		m, err := l.receive(ctx)
		if err == nil {
			free, err = given(m)
		}
		if err == nil && !free {
			// A log without new commits has nothing to tell whose the consumer is.
			free, err = s.unread(ctx, name)
		}
		if err != nil && waited {
			return false, fmt.Errorf("%w: %w", errWaited, err)
		}
		if free || err != nil {
			return free, err
		}
	}
}

// given reports whether an answer is a message.
func given(m *nats.Msg) (bool, error) {
	switch {
	case strings.HasPrefix(m.Reply, ackPrefix):
		return true, nil
	case status(m) == "100":
		return false, nil
	}
	return false, fmt.Errorf("the server ended a pull: status %s %s", clip(status(m)), clip(m.Header.Get("Description")))
}

// unread reports whether nobody reads a shared consumer any more, as far as the
// server knows.
func (s *Store) unread(ctx context.Context, name string) (bool, error) {
	var consumer jetstream.Consumer
	err := attempt(ctx, func(ctx context.Context) (err error) {
		consumer, err = s.js.Consumer(ctx, s.log, name)
		return err
	})
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	info := consumer.CachedInfo()
	if info.Config.PriorityPolicy != jetstream.PriorityPolicyPinned {
		return false, &InvalidError{What: "consumer", Value: name, Reason: "is not shared"}
	}
	for _, group := range info.PriorityGroups {
		if group.PinnedClientID != "" {
			return false, nil
		}
	}
	// Before the first delivery the server does not know who reads.
	return info.Delivered.Consumer > 0, nil
}

// RemoveConsumer removes a consumer from the server; whoever reads it gets an
// error. One that is not there is no error. Any other matches [ErrUnavailable].
func (s *Store) RemoveConsumer(ctx context.Context, name string) error {
	if err := checkToken("consumer name", name); err != nil {
		return err
	}
	retry := retrier{start: time.Now()}
	for {
		w := s.reads.watch()
		err := attempt(ctx, func(ctx context.Context) error { return s.js.DeleteConsumer(ctx, s.log, name) })
		if err == nil || errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		if denied := w.deniedAPI("CONSUMER.DELETE." + s.log + "." + name); denied != nil {
			return s.unavailable(denied)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, nats.ErrConnectionClosed) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return s.unavailable(err)
		}
	}
}
