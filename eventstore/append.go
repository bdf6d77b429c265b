package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Remembered is how many of a stream's last commits are searched for a
// commit id before an append with the expectation [Any] or [Exists] is sent,
// and the least that whoever folds a stream should remember.
const Remembered = 64

// AppendOptions are what an append may state about its commit.
type AppendOptions struct {
	// CommitID identifies the commit within its stream, so that appending it
	// again stores nothing and answers as the first time: any non-empty text
	// of at most 255 bytes without control characters. Default: a new UUID.
	CommitID string
	// Time is when the events happened, to the nanosecond, in the years 1 to
	// 9999. Default: now.
	Time time.Time
	// Metadata is stored with the commit, each pair as a CloudEvents
	// extension attribute: keys are 1 to 20 of the characters a-z and 0-9 and
	// do not begin with "hw", values any text without control characters, also
	// empty. It is added to the metadata of the context, see [WithMetadata] and
	// [CausedBy].
	Metadata map[string]string
}

// Append stores events, 1 or more, as one commit at the end of a stream: all of
// them or none, with the versions that follow the stream's last. It returns
// where the stream stands after the commit.
//
// The expectation says what must be true of the stream. With a [Revision] (or
// [NoStream]) an append is one round trip; the others read the stream's end
// first.
//
// An append is safe to repeat with the same CommitID and events. With a
// Revision, a [Version] or NoStream it is found again however old it is; with
// [Any] or [Exists] among the last [Remembered] commits, and for the log's
// duplicate window. The answer is then the original Revision, marked Replayed.
//
// On failure nothing was stored, unless the error is an
// [UnknownOutcomeError], or a [CorruptionError] that says so: the server took
// the commit and had lost others. The rest are [ConflictError],
// [CommitIDReusedError], [InvalidError], [TooLargeError], [DeniedError],
// [UnsafeLogError], what matches [ErrUnavailable], and why the file
// Options.HighWater cannot be written. Append itself repeats
// what is safe to repeat until the context ends, or for about half a minute
// without an answer, and at most a minute. With Any and Exists it goes on for as
// long as other writers are faster.
func (s *Store) Append(ctx context.Context, stream StreamID, expected Expectation, events []EventData, opts *AppendOptions) (Revision, error) {
	if s.onAppend == nil {
		return s.append(ctx, stream, expected, events, opts, nil)
	}
	done, began := Appended{Stream: stream, Events: len(events)}, time.Now()
	done.Revision, done.Err = s.append(ctx, stream, expected, events, opts, &done.Attempts)
	done.Took = time.Since(began)
	s.onAppend(ctx, done)
	return done.Revision, done.Err
}

// append is Append, and counts how often the commit is sent.
func (s *Store) append(ctx context.Context, stream StreamID, expected Expectation, events []EventData, opts *AppendOptions, attempts *int) (Revision, error) {
	subj, err := subject(s.log, stream)
	if err != nil {
		return Revision{}, err
	}
	if opts == nil {
		opts = &AppendOptions{}
	}
	c, err := newCommit(ctx, stream, events, opts)
	if err != nil {
		return Revision{}, err
	}
	if err := ctx.Err(); err != nil {
		return Revision{}, fmt.Errorf("stream %s: nothing sent: %w", stream, ended(ctx))
	}
	c.logID, c.logName = s.identity, s.log
	a := appender{Store: s, began: s.reconnects(), subj: subj, commit: c, named: opts.CommitID != "", attempts: attempts}
	err = s.water.check()
	if err == nil {
		err = s.reconnected(ctx)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("stream %s: nothing sent: %w", stream, err)
	}
	switch e := expected.(type) {
	case Revision:
		base, err := s.mark(stream, e)
		if err != nil {
			return Revision{}, err
		}
		return a.after(ctx, base, e)
	case Version:
		if e > 0 {
			return a.afterVersion(ctx, e)
		}
		return a.after(ctx, mark{}, expected)
	case Existence:
		switch e {
		case NoStream:
			return a.after(ctx, mark{}, expected)
		case Any, Exists:
			return a.anywhere(ctx, e)
		}
	}
	return Revision{}, &InvalidError{What: "expectation", Reason: "is none of Any, NoStream, Exists, a Version or a Revision"}
}

// newCommit checks what the caller gave and makes a commit of it that has no
// place yet.
func newCommit(ctx context.Context, stream StreamID, events []EventData, opts *AppendOptions) (*commit, error) {
	if len(events) == 0 {
		return nil, &InvalidError{What: "commit", Reason: "has no events"}
	}
	for i, e := range events {
		if i > 0 && e.Type == events[i-1].Type && e.ContentType == events[i-1].ContentType {
			continue
		}
		if err := checkName("event type", e.Type); err != nil {
			return nil, err
		}
		if e.ContentType == "" {
			continue
		}
		if err := checkName("content type", e.ContentType); err != nil {
			return nil, err
		}
	}
	metadata := joinMetadata(contextMetadata(ctx), opts.Metadata)
	for key, value := range metadata {
		if err := checkMetadata(key, value); err != nil {
			return nil, err
		}
	}
	c := &commit{stream: stream, id: opts.CommitID, time: opts.Time.UTC(), metadata: metadata, events: events}
	if c.id == "" {
		c.id = uuid.NewString()
	} else if err := checkName("commit id", c.id); err != nil {
		return nil, err
	}
	if opts.Time.IsZero() {
		c.time = time.Now().UTC()
	} else if y := c.time.Year(); y < 1 || y > 9999 {
		return nil, &InvalidError{What: "time", Reason: "is not in the years 1 to 9999"}
	}
	return c, nil
}

// An appender stores one commit.
type appender struct {
	*Store
	*commit
	began uint64 // the connections' reconnects when it began
	subj  string
	named bool // the caller chose the commit's id, so it may be stored already
	sent  bool // a message of it went out, and its fate is not known

	// absent says that the stream is known to have no commit: a server that
	// lost its commits would take a second first one.
	absent bool

	attempts *int // times that it was sent, where somebody wants to know
}

// errElsewhere is why a commit is not even sent, before it is known what stands
// in its place.
var errElsewhere = errors.New("the stream does not end there")

// errFaster is why an append that expects no version had to try again. For its
// caller that is no conflict.
var errFaster = errors.New("other writers were faster")

// anywhere appends after whatever is there.
func (a *appender) anywhere(ctx context.Context, expected Existence) (Revision, error) {
	retry := retrier{start: time.Now()}
	for {
		tail, err := a.tail(ctx, a.stream, a.subj)
		if err != nil {
			return Revision{}, fmt.Errorf("stream %s: nothing sent: %w", a.stream, err)
		}
		if a.named {
			if found, err := a.remembered(ctx, tail); found != nil || err != nil {
				return a.replay(ctx, found, err)
			}
		}
		base := tail.mark()
		if expected == Exists && base.version == 0 {
			return Revision{}, &ConflictError{Stream: a.stream, Expected: expected}
		}
		a.absent = tail == nil
		rev, err := a.after(ctx, base, expected)
		if !errors.Is(err, ErrConflict) {
			return rev, err
		}
		retry.start = time.Now() // the server answers
		if wait := retry.pause(ctx, errFaster); wait != nil {
			return Revision{}, fmt.Errorf("stream %s: nothing stored: %w", a.stream, wait)
		}
	}
}

// afterVersion appends at an exact version, whose chain it must read first.
func (a *appender) afterVersion(ctx context.Context, expected Version) (Revision, error) {
	tail, err := a.tail(ctx, a.stream, a.subj)
	if err != nil {
		return Revision{}, err
	}
	base := tail.mark()
	if base.version == uint64(expected) {
		return a.after(ctx, base, expected)
	}
	conflict := &ConflictError{Stream: a.stream, Expected: expected, Actual: base.version}
	if base.version < uint64(expected) {
		return Revision{}, conflict
	}
	next, err := a.seek(ctx, tail, a.subj, uint64(expected)+1)
	if err != nil {
		return Revision{}, err
	}
	if next.id == a.id && next.first == uint64(expected)+1 {
		return a.replay(ctx, next, nil)
	}
	return Revision{}, conflict
}

// after appends the commit after base, and on any answer but a plain yes finds
// out from the stream itself what became of it.
func (a *appender) after(ctx context.Context, base mark, expected Expectation) (Revision, error) {
	a.follow(base)
	h := newHeaders()
	defer h.free()
	msg := a.encode(a.log, a.subj, h)
	if err := a.fits(msg); err != nil {
		return Revision{}, err
	}
	retry := retrier{start: time.Now()}
	for {
		told := max(a.water.before(), base.position)
		var answer ack
		err := a.look(ctx, base)
		if err != nil && !errors.Is(err, errElsewhere) && !a.sent {
			return Revision{}, fmt.Errorf("stream %s: nothing sent: %w", a.stream, err)
		}
		if err == nil {
			answer, err = a.publish(ctx, msg)
		}
		if err == nil && !answer.Duplicate {
			return a.stored(ctx, base, answer.Sequence, told)
		}
		if err == nil {
			return a.duplicate(ctx, base, answer.Sequence)
		}
		if ctx.Err() != nil {
			return Revision{}, a.unsettled(base, fmt.Errorf("%w (%w)", ended(ctx), err))
		}
		next, tail, readErr := a.successor(ctx, base)
		switch {
		case readErr != nil:
			return Revision{}, a.unsettled(base, fmt.Errorf("%w (after %w)", readErr, err))
		case next != nil && next.id == a.id:
			return a.replay(ctx, next, nil)
		case next != nil:
			a.sent = false // what went out can never get past its guard now
			return Revision{}, &ConflictError{Stream: a.stream, Expected: expected, Actual: tail.last()}
		}
		if definite(err) && !a.sent {
			return Revision{}, fmt.Errorf("stream %s: nothing stored: %w", a.stream, err)
		}
		// The stream still ends at base: the message may go out again, and
		// the guard lets at most one of them in.
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.ErrorCode == codeWrongSequence && a.replicas > 1 && retry.attempts >= fewAttempts {
			err = fmt.Errorf("the log's leader does not find the stream's last commit, and other nodes do; make another one the leader: %w", err)
		}
		if wait := retry.pause(ctx, err); wait != nil {
			return Revision{}, a.unsettled(base, wait)
		}
	}
}

// look reports whether the stream ends at base as far as can be seen, where the
// server might take a commit that does not belong there: the server has lost
// what does.
func (a *appender) look(ctx context.Context, base mark) error {
	if base.ordinal == 0 && (a.absent || a.sound()) || base.ordinal > 0 && !a.doubtful(ctx) {
		return nil
	}
	tail, err := a.tail(ctx, a.stream, a.subj)
	if err != nil {
		return err
	}
	if tail.mark().position != base.position {
		return errElsewhere
	}
	a.absent = tail == nil
	return nil
}

func (a *appender) fits(msg *nats.Msg) error {
	header := int64(headerSize(msg.Header))
	if header > maxHeaders {
		return &TooLargeError{Stream: a.stream, What: "headers", Size: header, Limit: maxHeaders}
	}
	size, limit := header+int64(len(msg.Data)), a.writes.nc.MaxPayload()
	if limit > 0 && size > limit {
		return &TooLargeError{Stream: a.stream, What: "message", Size: size, Limit: limit}
	}
	return nil
}

// publish sends the commit once. An error is final if definite says so; after
// any other the stream tells.
func (a *appender) publish(ctx context.Context, msg *nats.Msg) (ack, error) {
	if a.attempts != nil {
		*a.attempts++
	}
	reply, err := a.writes.request(ctx, msg, a.wait)
	if err != nil {
		a.sent = a.sent || errors.Is(err, errNoAnswer) || errors.Is(err, errUnheard)
		return ack{}, err
	}
	if status(reply) == statusNoResponders {
		return ack{}, errNoLeader
	}
	answer, err := parseAck(reply.Data)
	switch {
	case err != nil:
		a.sent = true
		return ack{}, err
	case answer.Error != nil:
		return ack{}, answer.Error
	case answer.Stream != a.log:
		return ack{}, &UnsafeLogError{Log: a.log, Problems: []string{"JetStream stream " + clip(answer.Stream) + " takes its subjects"}}
	}
	return answer, nil
}

// definite reports errors after which this message is certainly not stored and
// sending it again would not help.
func definite(err error) bool {
	if errors.Is(err, ErrUnsafeLog) || errors.Is(err, ErrDenied) && !errors.Is(err, errUnheard) || errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	var refused *jetstream.APIError
	return errors.As(err, &refused) && !unclear[refused.ErrorCode]
}

// unclear are the refusals that may be about an earlier message of the same
// commit, or pass.
var unclear = map[jetstream.ErrorCode]bool{
	codeWrongSequence: true, codeWrongSequence2: true, codeInProcess: true, codeNotAvailable: true,
	10077: true, // the stream is being closed
	10167: true, // too many requests: the stream's queue is full
}
