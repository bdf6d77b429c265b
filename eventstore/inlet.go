package eventstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// An inlet gets what a consumer on the server delivers, in order and without
// loss, or says that it may not have.
type inlet struct {
	*exchange
	watch  watch
	began  uint64 // reconnects of the connection at the beginning
	log    string
	name   string // of the consumer
	line   *line
	retry  retrier // of the first pull
	shared bool
	pin    string // by which the server knows that a shared consumer is ours

	subj   string // to pull
	body   []byte // of a pull
	pulled int    // messages asked for and not come

	prefix  string // of the reply subjects of deliveries
	got     uint64 // deliveries
	last    uint64 // position that the consumer came to, as it said when idle
	pending uint64 // messages after the last one
	claimed uint64 // deliveries that the server said it made and that did not come
	since   time.Time

	reminder      atomic.Pointer[[]byte]
	reminderReply string
}

// forLong is for a pull that must stay the first in the consumer's queue.
const forLong = 365 * 24 * time.Hour

func (in *inlet) begin(x *exchange) {
	in.exchange, in.watch, in.began = x, x.watch(), x.nc.Stats().Reconnects
}

func (in *inlet) open(log, name string, shared bool) (err error) {
	in.log, in.name, in.shared, in.retry.start = log, name, shared, time.Now()
	in.subj = "$JS.API.CONSUMER.MSG.NEXT." + log + "." + name
	in.reminderReply = in.nc.NewInbox()
	if in.line, err = in.take(); err != nil {
		return err
	}
	// Until the server has said whose a shared consumer is, it is the one's
	// whose pull came first.
	expires := abandoned / 2
	if shared {
		expires = forLong
	}
	in.requests(expires)
	return in.pull()
}

// requests makes the requests to the consumer. One is to say no more than that
// somebody reads: too small for any message, with nobody to hear the answer.
func (in *inlet) requests(expires time.Duration) {
	group := ""
	if in.shared {
		group = fmt.Sprintf(`,"group":%q`, readers)
	}
	if in.pin != "" {
		group += fmt.Sprintf(`,"id":%q`, in.pin)
	}
	const pull = `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d%s}`
	in.body = fmt.Appendf(nil, pull, pullBatch, pullBytes+in.nc.MaxPayload(), expires, heartbeat, group)
	if !in.shared || in.pin != "" {
		body := fmt.Appendf(nil, `{"batch":1,"max_bytes":1,"expires":%d%s}`, heartbeat, group)
		in.reminder.Store(&body)
	}
}

// pull asks for the next messages.
func (in *inlet) pull() error {
	in.watch = in.exchange.watch()
	if err := in.connected(); err != nil {
		return err
	}
	in.pulled += pullBatch
	return in.nc.PublishRequest(in.subj, in.line.reply, in.body)
}

// remind tells the server that somebody reads the consumer.
func (in *inlet) remind() {
	if body := in.reminder.Load(); body != nil {
		_ = in.nc.PublishRequest(in.subj, in.reminderReply, *body) // the next pull tells
	}
}

// receive returns the next message, or neither that nor an error when all is
// well and nothing new is there.
func (in *inlet) receive(ctx context.Context) (*stored, error) {
	for {
		if in.pulled <= pullBatch/2 {
			if err := in.pull(); err != nil {
				return nil, err
			}
		}
		m, err := in.await(ctx)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(m.Reply, ackPrefix) {
			return in.delivered(m)
		}
		if status(m) == statusNoResponders && in.got == 0 && time.Since(in.retry.start) < settling {
			in.pulled -= pullBatch
			if err := in.retry.pause(ctx, errGone); err != nil {
				return nil, err
			}
			continue
		}
		if idle, err := in.control(m); idle || err != nil {
			return nil, err
		}
	}
}

// await returns the next message, of whatever kind. It looks twice before it
// sleeps: a busy server's next message is often there by then, and to be woken
// for each one takes longer.
func (in *inlet) await(ctx context.Context) (*nats.Msg, error) {
	for range 2 {
		select {
		case m := <-in.line.replies:
			return m, nil
		default:
		}
		runtime.Gosched()
	}
	for missed := 1; ; missed++ {
		in.line.timer.Reset(heartbeat)
		m, err := in.line.receive(ctx)
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		if err := in.connected(); err != nil {
			return nil, err
		}
		if missed == 3 {
			return nil, errors.New("the server says nothing of the consumer")
		}
	}
}

func (in *inlet) connected() error { return unbroken(in.nc, in.began) }

// unbroken reports an error if the connection was lost since it had reconnected so
// often: it may lead to a server now that knows another log.
func unbroken(nc *nats.Conn, began uint64) error {
	switch {
	case nc.IsClosed():
		return nats.ErrConnectionClosed
	case !nc.IsConnected():
		return errors.New("the connection is lost")
	case nc.Stats().Reconnects != began:
		return errors.New("the connection was lost, and is there again")
	}
	return nil
}

func (in *inlet) delivered(m *nats.Msg) (*stored, error) {
	if in.prefix == "" {
		in.prefix = replyPrefix(m.Reply, in.log, in.name)
	}
	at, ok := parseReply(m.Reply, in.prefix)
	if !ok {
		return nil, fmt.Errorf("a message of another consumer came, with reply subject %s", clip(m.Reply))
	}
	if at.number != in.got+1 {
		return nil, fmt.Errorf("a message was lost on the way: delivery %d came after %d", at.number, in.got)
	}
	in.got++
	in.pulled--
	in.pending = at.pending
	if err := in.pinned(m); err != nil {
		return nil, err
	}
	return &stored{m.Subject, at.position, m.Header, m.Data, time.Unix(0, at.recorded)}, nil
}

// pinned learns by what the server knows us. It adds its header after the stored
// ones, so the last is the true one.
func (in *inlet) pinned(m *nats.Msg) error {
	if !in.shared {
		return nil
	}
	pins := m.Header[headerPin]
	if len(pins) == 0 || in.pin != "" && pins[len(pins)-1] != in.pin {
		return errTaken
	}
	if in.pin == "" {
		in.pin = pins[len(pins)-1]
		in.requests(abandoned / 2)
	}
	return nil
}

const headerPin = "Nats-Pin-Id"

// errTaken says that a shared consumer is another process's.
var errTaken = errors.New("another process reads the consumer now, or may")

var errGone = errors.New("the consumer is gone")

// settling is how long the nodes of a cluster may take to know of a new consumer.
const settling = 3 * heartbeat

// control acts on what the server says about the consumer, which may be that it
// is idle.
func (in *inlet) control(m *nats.Msg) (idle bool, err error) {
	switch status(m) {
	case "100": // heartbeat: there is nothing more to deliver
		return true, in.heartbeat(m)
	case "408", "409": // a pull is over
		unused, err := parseNumber(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			return false, fmt.Errorf("the server ended a pull: %s", clip(m.Header.Get("Description")))
		}
		in.pulled -= int(unused)
		return false, nil
	case "423":
		return false, errTaken
	case statusNoResponders:
		return false, errGone
	}
	return false, fmt.Errorf("the server answered with status %s", clip(status(m)))
}

// heartbeat compares what the server delivered with what came. On replicas the
// heartbeat of one pull may overtake the last messages of another, which wait
// until they are replicated.
func (in *inlet) heartbeat(m *nats.Msg) error {
	number, err1 := parseNumber(m.Header.Get("Nats-Last-Consumer"))
	last, err2 := parseNumber(m.Header.Get("Nats-Last-Stream"))
	switch {
	case err1 != nil || err2 != nil || number < in.got:
		return errors.New("the consumer was set back")
	case number == in.got:
		in.claimed, in.last = 0, last
		return nil
	case in.claimed == 0 || in.got >= in.claimed:
		in.claimed, in.since = number, time.Now()
		return nil
	case time.Since(in.since) < 2*heartbeat:
		return nil
	}
	return fmt.Errorf("messages were lost on the way: the server made %d deliveries, and %d came", in.claimed, in.got)
}

func (in *inlet) close() {
	if in.line != nil && in.line.sub != nil {
		in.give(in.line, false)
	}
	in.line = nil
}

// ackPrefix begins the reply subject of what a consumer delivers:
//
//	$JS.ACK.<log>.<consumer>.<times>.<position>.<number>.<recorded>.<pending>
//	$JS.ACK.<domain>.<account>.<log>.<consumer>.<times>.<position>.<number>.<recorded>.<pending>[.<random>]
const ackPrefix = "$JS.ACK."

// label is what the reply subject of a delivery says.
type label struct {
	position uint64
	number   uint64 // of the delivery, from 1
	recorded int64  // nanoseconds
	pending  uint64 // messages after it
}

// replyPrefix returns the part of a reply subject that all deliveries of a
// consumer have in common, "" if there is none.
func replyPrefix(reply, log, name string) string {
	own := "." + log + "." + name + "."
	i := strings.Index(reply, own)
	if i < 0 {
		return ""
	}
	prefix := reply[:i+len(own)]
	switch strings.Count(prefix, ".") {
	case 4, 6:
		return prefix
	}
	return ""
}

// parseReply reads a reply subject with this prefix.
func parseReply(reply, prefix string) (at label, ok bool) {
	rest, ok := strings.CutPrefix(reply, prefix)
	if !ok || prefix == "" {
		return label{}, false
	}
	var numbers [5]uint64
	for i := range numbers {
		if numbers[i], rest, ok = cutNumber(rest); !ok {
			return label{}, false
		}
	}
	return label{numbers[1], numbers[2], int64(numbers[3]), numbers[4]}, true
}

// cutNumber cuts a number and the '.' after it off.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return n, s[i+1:], i > 0
		}
		if s[i] < '0' || s[i] > '9' {
			return 0, "", false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, "", s != ""
}
