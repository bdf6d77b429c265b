package timer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience bounds a call whose context has no earlier deadline. A leader election
// takes up to about ten seconds.
const patience = 30 * time.Second

// persist does something that may be repeated until it is done, or cannot be. An
// answer may be lost, so each attempt is given a short time of its own.
func (t *Timers) persist(ctx context.Context, do func(context.Context) error) error {
	const first, longest = 500 * time.Millisecond, 4 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for attempts := 0; ; attempts++ {
		before := t.nc.LastError()
		limited, cancel := context.WithTimeout(ctx, min(first<<min(attempts, 8), longest))
		err := do(limited)
		cancel()
		if err == nil {
			return nil
		}
		if denied := t.denied(before, "$JS.API.", t.prefix+".", t.inboxes()); denied != nil {
			return denied
		}
		if final(err) {
			return t.failure(err)
		}
		if ended := pause(ctx, min(10*time.Millisecond<<min(attempts, 8), time.Second)); ended != nil {
			return t.unavailable(fmt.Errorf("%w (%w)", ended, err))
		}
	}
}

// codeNoReplicas says that a server without a cluster has no replicas.
const codeNoReplicas jetstream.ErrorCode = 10074

// final reports an error that another attempt would have too.
func final(err error) bool {
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return refused.Code == 400 || refused.Code == 404 || refused.ErrorCode == codeNoReplicas
	}
	return errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload)
}

func (t *Timers) failure(err error) error {
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.Code != 404 || errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("timers %s: the server refuses it: %w", t.name, err)
	}
	return t.unavailable(err)
}

func (t *Timers) unavailable(err error) error {
	return fmt.Errorf("timers %s: %w: %w", t.name, eventstore.ErrUnavailable, err)
}

// pause waits about so long. It returns the context's error if that ends before.
func pause(ctx context.Context, long time.Duration) error {
	select {
	case <-time.After(long/2 + rand.N(long)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// denied returns a DeniedError if the server did not permit one of these subjects
// since the connection's last error was another one. The server says so only to the
// connection as a whole, and answers nothing.
func (t *Timers) denied(before error, subjects ...string) error {
	err := t.nc.LastError()
	if err == nil || err == before || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	said := strings.ToLower(err.Error())
	for _, subject := range subjects {
		if strings.Contains(said, strings.ToLower(`"`+subject)) {
			return fmt.Errorf("timers %s: %w", t.name, &eventstore.DeniedError{Reason: err})
		}
	}
	return nil
}

// inboxes begin the subjects of the connection's answers.
func (t *Timers) inboxes() string {
	if prefix := t.nc.Opts.InboxPrefix; prefix != "" {
		return prefix + "."
	}
	return nats.InboxPrefix
}
