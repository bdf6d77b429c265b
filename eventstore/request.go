package eventstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A line is a reply address of its own: a subscription whose messages go
// straight to whoever holds the line, with no dispatcher between. Lines are
// kept and used again, under a new number each time, so that no answer ever
// reaches the wrong request; one that may still get answers is dropped instead.
type line struct {
	sub     *nats.Subscription
	replies chan *nats.Msg
	prefix  string // reply subjects are prefix + number
	number  uint64
	reply   string // where answers are expected now
	timer   *time.Timer
}

const (
	// How many messages are asked for at once on one line: some to begin with,
	// then as many as the largest one so far lets expect to stay under the
	// bytes. The server closes a connection that is too far behind.
	minPipelined   = 8
	firstPipelined = 32
	maxPipelined   = 256
	pipelinedBytes = 8 << 20

	maxIdleLines = 128
)

// exchange hands out the lines of one connection.
type exchange struct {
	nc   *nats.Conn
	mu   sync.Mutex
	idle []*line
}

func (x *exchange) take() (*line, error) {
	x.mu.Lock()
	if n := len(x.idle); n > 0 {
		l := x.idle[n-1]
		x.idle = x.idle[:n-1]
		x.mu.Unlock()
		l.renumber()
		return l, nil
	}
	x.mu.Unlock()
	l := &line{
		replies: make(chan *nats.Msg, 2*maxPipelined),
		prefix:  x.nc.NewInbox() + ".",
		timer:   time.NewTimer(time.Hour),
	}
	l.renumber()
	var err error
	l.sub, err = x.nc.ChanSubscribe(l.prefix+"*", l.replies)
	return l, err
}

func (l *line) renumber() {
	l.number++
	l.reply = l.prefix + strconv.FormatUint(l.number, 10)
}

// give takes a line back. quiet says that every request on it was answered.
func (x *exchange) give(l *line, quiet bool) {
	l.timer.Stop()
	x.mu.Lock()
	keep := quiet && len(x.idle) < maxIdleLines
	if keep {
		x.idle = append(x.idle, l)
	}
	x.mu.Unlock()
	if !keep {
		_ = l.sub.Unsubscribe() // fails only where the connection is gone
	}
}

// errNoAnswer says that a request was sent and its answer did not come in
// time, or before the end of the context.
var errNoAnswer = errors.New("no answer from the server")

// receive waits for the next message, at most until the line's timer ends.
func (l *line) receive(ctx context.Context) (*nats.Msg, error) {
	select {
	case m := <-l.replies:
		return m, nil
	case <-l.timer.C:
		return nil, errNoAnswer
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errNoAnswer, ended(ctx))
	}
}

// answer is receive for answers to the line's present number. Others are for
// earlier requests, which somebody answered a second time.
func (l *line) answer(ctx context.Context) (*nats.Msg, error) {
	for {
		if m, err := l.receive(ctx); err != nil || m.Subject == l.reply {
			return m, err
		}
	}
}

// ended says why a context has ended: its error, and the cause where it was
// given another.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// request sends msg and returns its one answer.
func (x *exchange) request(ctx context.Context, msg *nats.Msg, wait time.Duration) (*nats.Msg, error) {
	l, err := x.take()
	if err != nil {
		return nil, err
	}
	msg.Reply = l.reply
	w := x.watch()
	if err := x.nc.PublishMsg(msg); err != nil {
		x.give(l, true)
		return nil, err
	}
	reply, err := l.await(ctx, wait, w, msg.Subject)
	x.give(l, err == nil)
	return reply, err
}

// await is answer within a time. A request that the server does not permit gets
// none.
func (l *line) await(ctx context.Context, wait time.Duration, w watch, subj string) (*nats.Msg, error) {
	for ; ; wait -= glance {
		l.timer.Reset(min(wait, glance))
		m, err := l.answer(ctx)
		if !errors.Is(err, errNoAnswer) {
			return m, err
		}
		if denied := w.denied(subj); denied != nil {
			return nil, denied
		}
		if denied := w.denied(l.prefix); denied != nil {
			return nil, fmt.Errorf("%w: %w", errUnheard, denied)
		}
		if ctx.Err() != nil || wait <= glance {
			return nil, err
		}
	}
}

// pipeline gets the messages at the positions that next returns, many under way
// at once, and hands over the answers as they arrive. An answer may let next
// return more; the pipeline ends when it has none and all are answered, or with
// an error of answer.
func (x *exchange) pipeline(ctx context.Context, log string, wait time.Duration, next func() (position uint64, ok bool), answer func(*nats.Msg) error) error {
	l, err := x.take()
	if err != nil {
		return err
	}
	subj := "$JS.API.DIRECT.GET." + log
	w := x.watch()
	var buf [32]byte
	pending, limit, largest := 0, firstPipelined, 1
	defer func() { x.give(l, pending == 0) }()
	for {
		for pending < limit {
			position, ok := next()
			if !ok {
				break
			}
			body := strconv.AppendUint(append(buf[:0], `{"seq":`...), position, 10)
			if err := x.nc.PublishRequest(subj, l.reply, append(body, '}')); err != nil {
				return err
			}
			pending++
		}
		if pending == 0 {
			return nil
		}
		m, err := l.await(ctx, wait, w, subj)
		if err != nil {
			return err
		}
		pending--
		largest = max(largest, m.Size())
		limit = min(max(pipelinedBytes/largest, minPipelined), maxPipelined)
		if err := answer(m); err != nil {
			return err
		}
	}
}

// A watch tells what the server did not permit since it began. The server says
// so only to the connection as a whole, and answers nothing.
type watch struct {
	nc     *nats.Conn
	before error
}

func (x *exchange) watch() watch { return watch{x.nc, x.nc.LastError()} }

// denied returns a DeniedError if the server did not permit a subject, to publish
// to it or to receive answers from it. One that ends in '.' stands for all that
// begin with it.
func (w watch) denied(subj string) error {
	err := w.nc.LastError()
	if err == nil || err == w.before || !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	if !strings.HasSuffix(subj, ".") {
		subj += `"`
	}
	if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(`"`+subj)) {
		return nil
	}
	return &DeniedError{Reason: err}
}

// deniedAPI is denied for requests to JetStream that nats.go makes, and for their
// answers. What else uses the connection may have been refused something too.
func (w watch) deniedAPI(requests ...string) error {
	for _, request := range requests {
		if denied := w.denied("$JS.API." + request); denied != nil {
			return denied
		}
	}
	inbox := cmp.Or(w.nc.Opts.InboxPrefix, strings.TrimSuffix(nats.InboxPrefix, ".")) + "."
	if denied := w.denied(inbox); denied != nil && strings.Contains(strings.ToLower(denied.Error()), "subscription to") {
		return denied // and not an answer to somebody else
	}
	return nil
}

// heed calls f, which waits for an answer, and ends its context when refused returns
// an error. If f then fails, that is the error.
func heed(ctx context.Context, refused func() error, f func(context.Context) error) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		looks := time.NewTicker(glance)
		defer looks.Stop()
		for {
			select {
			case <-looks.C:
				if err := refused(); err != nil {
					cancel(err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err := f(ctx)
	if err != nil && ctx.Err() != nil && outer.Err() == nil {
		return context.Cause(ctx)
	}
	return err
}

// glance is how often to look whether the server permits what was asked.
const glance = 100 * time.Millisecond

// errUnheard says that a request may have been carried out, and that its answer
// cannot be received.
var errUnheard = errors.New("no permission to receive the answer")

// status returns the status code of an answer without content, or "". What the
// log holds has a sequence that the server adds, whatever its own headers say.
func status(m *nats.Msg) string {
	if len(m.Header[jetstream.SequenceHeader]) > 0 {
		return ""
	}
	if v := m.Header["Status"]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

const (
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// The server's error codes that this package acts on.
const (
	codeNotAvailable   jetstream.ErrorCode = 10008 // system temporarily unavailable
	codeNoMessage      jetstream.ErrorCode = 10037
	codeWrongSequence  jetstream.ErrorCode = 10071
	codeInProcess      jetstream.ErrorCode = 10158 // the same message id is being stored
	codeWrongSequence2 jetstream.ErrorCode = 10164 // another write to the subject is being stored
)

// ack is the server's answer to a publish.
type ack struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// parseAck reads an ack. The plain one, which nearly all are, is read without
// the general decoder.
func parseAck(data []byte) (a ack, err error) {
	s := string(data)
	if rest, ok := strings.CutPrefix(s, `{"stream":"`); ok {
		if name, rest, ok := strings.Cut(rest, `","seq":`); ok && !strings.ContainsAny(name, `"\`) {
			if seq, end, ok := strings.Cut(strings.TrimLeft(rest, " "), "}"); ok && end == "" {
				if a.Sequence, err = parseNumber(seq); err == nil && a.Sequence > 0 {
					a.Stream = name
					return a, nil
				}
			}
		}
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return ack{}, fmt.Errorf("malformed ack %s", clip(s))
	}
	if a.Error == nil && a.Sequence == 0 {
		return ack{}, fmt.Errorf("malformed ack %s", clip(s))
	}
	return a, nil
}
