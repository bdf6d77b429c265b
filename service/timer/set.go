package timer

import (
	"context"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	headerSchedule = "Nats-Schedule"
	headerTarget   = "Nats-Schedule-Target"
	headerReason   = "Hw-Timer-Error"
)

// reserve is what headers of a timer, or of a dead one, may take of a message.
const reserve = 4 << 10

// Set sets a timer. When it returns without an error the timer is stored, and one
// with the same ID that was set before is gone: whether it waited, was due and not
// called yet, was to be called again, or is dead. To set the same one again is safe
// as long as it was not called; a timer that was called and is set again is called
// again.
//
// A timer that cannot be stored is an [eventstore.InvalidError]; what the server does
// not permit is an [eventstore.DeniedError]. An error that matches
// [eventstore.ErrUnavailable] says that the server did not answer until the context
// ended, or for half a minute: the timer may be set or not, and an earlier one may
// still be there. Set it again.
func (t *Timers) Set(ctx context.Context, timer Timer) error {
	if err := t.check(timer); err != nil {
		return err
	}
	stored, err := t.store(ctx, t.schedule(timer.ID, revision(timer.At), timer.At, timer.Data))
	if err != nil {
		return err
	}
	return t.purge(ctx, timer.ID, stored)
}

// store stores a message once, and returns its sequence.
func (t *Timers) store(ctx context.Context, msg *nats.Msg) (sequence uint64, err error) {
	err = t.persist(ctx, func(ctx context.Context) error {
		stored, err := t.js.PublishMsg(ctx, msg, jetstream.WithMsgID(msg.Subject))
		if err == nil {
			sequence = stored.Sequence
		}
		return err
	})
	return sequence, err
}

// Cancel removes the timer of this ID, also one that is due and not called yet, or
// dead. One that is not there is no error. A call that has begun goes on, and so may
// one of a timer that is due at this moment.
//
// Errors are those of [Timers.Set]; after one the timer may be there or not.
func (t *Timers) Cancel(ctx context.Context, id string) error {
	if err := t.checkID(id); err != nil {
		return err
	}
	// If a process dies before the purge, the server makes it due, and Run removes it.
	at := time.Now().Add(t.leftover)
	stored, err := t.store(ctx, t.schedule(id, cancellation(), at, nil))
	if err != nil {
		return err
	}
	return t.purge(ctx, id, stored+1)
}

func (t *Timers) check(timer Timer) error {
	if err := t.checkID(timer.ID); err != nil {
		return err
	}
	if err := checkTime(timer.At); err != nil {
		return err
	}
	// Before it is connected for the first time the connection does not know.
	if most := t.nc.MaxPayload() - reserve; most > 0 && int64(len(timer.Data)) > most {
		return &eventstore.InvalidError{What: "timer's data", Reason: fmt.Sprintf("has %d bytes and the limit is %d; keep it elsewhere and its address in the timer", len(timer.Data), most)}
	}
	return nil
}

// schedule is the message with which the server makes a timer due. The time has its
// fractions of a second, without which a timer would be called too early.
func (t *Timers) schedule(id, revision string, at time.Time, data []byte) *nats.Msg {
	return &nats.Msg{
		Subject: t.subject(partSet, id, revision),
		Header: nats.Header{
			headerSchedule: {"@at " + at.UTC().Format(time.RFC3339Nano)},
			headerTarget:   {t.subject(partDue, id, revision)},
		},
		Data: data,
	}
}

// purge removes all that there is of a timer before a sequence. A request whose answer
// did not come may be carried out late: without that bound it would remove what was
// set since.
func (t *Timers) purge(ctx context.Context, id string, before uint64) error {
	return t.persist(ctx, func(ctx context.Context) error {
		return t.stream.Purge(ctx, jetstream.WithPurgeSubject(t.subject("*", id, "*")), jetstream.WithPurgeSequence(before))
	})
}
