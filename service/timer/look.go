package timer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// look has timers become due that the server forgot. It makes a timer due once: where
// that cannot be stored, because it has no space left for example, the server does not
// try again before it is restarted.
func (t *Timers) look(ctx context.Context) {
	for pause(ctx, t.overdue, nil) == nil {
		if err := t.remind(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("timers that the server forgot were not looked for", "error", err)
		}
	}
}

// remind sets timers again which, by the server's clock, have been due for long.
func (t *Timers) remind(ctx context.Context) error {
	var info *jetstream.StreamInfo
	err := t.persist(ctx, func(ctx context.Context) (err error) {
		info, err = t.stream.Info(ctx, jetstream.WithSubjectFilter(t.prefix+"."+partSet+".>"))
		return err
	})
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		id, revision, at, ok := t.parse(partSet, subject)
		if !ok || info.TimeStamp.Sub(at) < t.overdue {
			continue
		}
		t.log.Warn("the server forgot a timer; it is set again", "id", id, "at", at)
		if err := t.again(ctx, subject, id, revision, at); err != nil {
			return err
		}
	}
	return nil
}

// again sets a timer again under the subject that it has, if it is still there.
func (t *Timers) again(ctx context.Context, subject, id, revision string, at time.Time) error {
	return t.persist(ctx, func(ctx context.Context) error {
		m, err := t.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = t.js.PublishMsg(ctx, t.schedule(id, revision, at, m.Data), jetstream.WithExpectLastSequencePerSubject(m.Sequence))
		if moved(err) {
			return nil // it became due, or was cancelled
		}
		return err
	})
}

// moved reports that a subject has another last message than was expected.
func moved(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
