package timer

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DeadTimer is a timer that is not called any more, since too many calls failed. It
// is kept until it is set again, with [Timers.Set] of its Timer for example, which
// is due at once, or cancelled.
type DeadTimer struct {
	Timer            // with the number of calls as its Attempt, 0 if that is not known
	Reason string    // the last call's error, shortened if it is long
	Since  time.Time // when it was given up
}

// Dead returns the timers that are dead, the oldest first. The iteration ends with
// those that are there when it comes to the end. Timers may be set and cancelled
// meanwhile, in the loop too.
//
// An error is yielded last, with a zero DeadTimer. It is one of [Timers.Set].
func (t *Timers) Dead(ctx context.Context) iter.Seq2[DeadTimer, error] {
	return func(yield func(DeadTimer, error) bool) {
		for next := uint64(1); ; {
			m, err := t.deadAfter(ctx, next)
			if err != nil {
				yield(DeadTimer{}, err)
				return
			}
			if m == nil {
				return
			}
			next = m.Sequence + 1
			if dead, ok := t.decodeDead(m); ok && !yield(dead, nil) {
				return
			}
		}
	}
}

// deadAfter returns the first dead timer from a sequence on, nil if there is none.
func (t *Timers) deadAfter(ctx context.Context, sequence uint64) (m *jetstream.RawStreamMsg, err error) {
	err = t.persist(ctx, func(ctx context.Context) (err error) {
		m, err = t.stream.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(t.prefix+"."+partDead+".>"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		return err
	})
	return m, err
}

func (t *Timers) decodeDead(m *jetstream.RawStreamMsg) (DeadTimer, bool) {
	id, _, at, ok := t.parse(partDead, m.Subject)
	reason, known := unescape(m.Header.Get(headerReason))
	if !known {
		reason = ""
	}
	return DeadTimer{Timer{ID: id, At: at, Data: m.Data, Attempt: number(m.Header.Get(headerAttempts))}, reason, m.Time}, ok
}

// bury stores a timer among the dead, if it is due still: if it was set again, or
// cancelled, the error is one of moved. It may be repeated: of one revision the stream
// keeps one.
func (t *Timers) bury(ctx context.Context, timer delivered, reason error) error {
	due := t.subject(partDue, timer.ID, timer.revision)
	msg := &nats.Msg{
		Subject: t.subject(partDead, timer.ID, timer.revision),
		Header: nats.Header{
			jetstream.MsgRollup: {jetstream.MsgRollupSubject},
			headerReason:        {escape(clip(reason.Error()))},
			headerAttempts:      {text(timer.Attempt)},
		},
		Data: timer.Data,
	}
	return t.persist(ctx, func(ctx context.Context) error {
		_, err := t.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequenceForSubject(timer.sequence, due))
		return err
	})
}
