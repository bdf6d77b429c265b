package timer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// look has timers become due that the server forgot, which makes a timer due once:
// where that cannot be stored, because there is no space left for example, it does not
// try again before it is restarted.
func (t *Timers) look(ctx context.Context) {
	// Of very many timers even the names take a while. Not to be busy with them for
	// more than a hundredth of the time, it looks less often then.
	for took := time.Duration(0); pause(ctx, max(t.overdue, 100*took)) == nil; {
		began := time.Now()
		if err := t.remind(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn("timers that the server forgot were not looked for", "error", err)
		}
		took = time.Since(began)
	}
}

// remind sets timers again which, by the server's clock, have been due for long.
func (t *Timers) remind(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := t.stream.Info(limited, jetstream.WithSubjectFilter(t.prefix+"."+partSet+".>"))
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
