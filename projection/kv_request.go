package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	kvAnswer   = 2 * time.Second  // to wait for one answer
	kvCreate   = 10 * time.Second // the same for the creation of a bucket
	kvPatience = 30 * time.Second // for a read or write as a whole
)

// read returns the records of a projection.
func (k *KV) read(ctx context.Context, projection string) (now kvState, err error) {
	if err := checkName(projection); err != nil {
		return now, err
	}
	err = k.try(ctx, func(ctx context.Context) (err error) {
		now, err = k.ask(ctx, projection)
		return err
	})
	if err != nil {
		return now, err
	}
	return k.learn(projection, now), nil
}

// ask asks the node that leads the bucket: others, whom nats.go would ask too, may not
// have what was written just now.
func (k *KV) ask(ctx context.Context, projection string) (now kvState, err error) {
	ctx, cancel := context.WithTimeout(ctx, kvAnswer)
	defer cancel()
	question := fmt.Sprintf(`{"last_by_subj":"$KV.%s.%s"}`, k.bucket, projection)
	m, err := k.nc.RequestWithContext(ctx, k.getSubject(), []byte(question))
	if err != nil {
		return now, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return now, fmt.Errorf("malformed answer: %w", err)
	}
	const noMessage = 10037
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == noMessage:
		return parseKV(projection, 0, nil)
	case answer.Error != nil:
		return now, answer.Error
	case answer.Message == nil:
		return now, errors.New("malformed answer: it has no message")
	}
	return parseKV(projection, answer.Message.Sequence, answer.Message.Data)
}

func (k *KV) getSubject() string { return "$JS.API.STREAM.MSG.GET.KV_" + k.bucket }

// write replaces the records of a projection, if they are as they were before; if not
// the error is errMoved. Where the server's answer does not tell, or is lost, the bucket
// does: what is written has an id.
func (k *KV) write(ctx context.Context, projection string, before kvState, records map[string][]byte) error {
	next := before.next(records)
	value, err := next.encode(projection)
	if err != nil {
		return err
	}
	err = k.try(ctx, func(ctx context.Context) (err error) {
		if next.revision, err = k.put(ctx, projection, value, before.revision); err == nil {
			return nil
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
			return fmt.Errorf("projection %s: its records take %d bytes, and the server takes no message of that size (max_payload is %d): retry or discard parked streams, allow larger messages, or keep the records in a database: %w",
				projection, len(value), k.nc.MaxPayload(), eventstore.ErrTooLarge)
		}
		now, wrong := k.ask(ctx, projection)
		switch {
		case wrong != nil:
			return fmt.Errorf("%w; and then: %w", err, wrong)
		case now.has(next.writes[0]):
			next = now
			return nil
		case now.revision > before.revision:
			k.learn(projection, now)
			return errMoved
		}
		return err // it is not there yet, or this node does not know; the guard lets it in once
	})
	switch {
	case err == nil:
		k.learn(projection, next)
	case errors.Is(err, eventstore.ErrUnavailable):
		k.forget(projection)
		err = fmt.Errorf("projection %s: its records may or may not be written: %w", projection, err)
	}
	return err
}

func (k *KV) put(ctx context.Context, projection string, value []byte, after uint64) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, kvAnswer)
	defer cancel()
	return k.kv.Update(ctx, projection, value, after)
}

// try asks the server until it has answered, within half a minute.
func (k *KV) try(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, kvPatience)
	defer cancel()
	before := k.nc.LastError()
	var trouble error
	for attempt := 1; ; attempt++ {
		err := f(limited)
		if trouble == nil || limited.Err() == nil {
			trouble = err
		}
		denied := k.denied(before)
		switch {
		case err == nil || settled(err):
			return err
		case denied != nil:
			return fmt.Errorf("bucket %s: %w", k.bucket, denied)
		case errors.Is(err, nats.ErrConnectionClosed) || limited.Err() != nil:
			if ended := ctx.Err(); ended != nil && !errors.Is(trouble, ended) {
				trouble = fmt.Errorf("%w: %w", ended, trouble)
			}
			return fmt.Errorf("bucket %s: %w: %w", k.bucket, eventstore.ErrUnavailable, trouble)
		}
		const longest = 5 // steps of growing pauses: to half a second
		pause(limited, min(attempt, longest))
	}
}

// errRefused says that the server answered, and does not make or open the bucket.
var errRefused = errors.New("refused")

// refusal tells the answers that will be the same the next time.
func refusal(err error) error {
	const notAvailable = 10008 // at the moment
	var answer *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrBucketExists), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return err // another process makes it, or the server is starting
	case errors.Is(err, jetstream.ErrBadBucket), errors.As(err, &answer) && answer.ErrorCode != notAvailable:
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// settled reports whether an error is an answer.
func settled(err error) bool {
	for _, kind := range []error{errMoved, errDamagedRecord, errRefused, eventstore.ErrTooLarge, eventstore.ErrInvalid, jetstream.ErrInvalidBucketName} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// denied returns a DeniedError if the server did not permit to read or write since the
// connection's last error was another one. It tells only the connection.
func (k *KV) denied(before error) error {
	err := k.nc.LastError()
	if err == nil || err == before || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	for _, subject := range []string{"$js.api.", "$kv." + strings.ToLower(k.bucket) + "."} {
		if strings.Contains(strings.ToLower(err.Error()), `"`+subject) {
			return &eventstore.DeniedError{Reason: err}
		}
	}
	return nil
}

// last returns what this process knows of a projection's records.
func (k *KV) last(projection string) kvState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[projection]
}

// learn notes what the records are, and returns the newest that is known: a leader that
// was deposed, and has not noticed, answers from the past.
func (k *KV) learn(projection string, now kvState) kvState {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.revision >= k.known[projection].revision {
		k.known[projection] = now
	}
	return k.known[projection]
}

func (k *KV) forget(projection string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, projection)
}
