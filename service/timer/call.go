package timer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

const headerAttempts = "Hw-Timer-Attempts"

// call calls one timer, and tells the server what became of it.
func (r *runner) call(m *nats.Msg) {
	if isCancellation(m.Subject) {
		r.tell(m.Ack())
		return
	}
	id, revision, at, ok := r.parse(partDue, m.Subject)
	meta, err := m.Metadata()
	if !ok || err != nil {
		r.log.Error("a message that is no timer was removed", "subject", m.Subject)
		r.tell(m.Term())
		return
	}
	timer := Timer{ID: id, At: at, Data: m.Data, Attempt: int(meta.NumDelivered)}
	answered := r.keep(m)
	defer answered()
	if (timer.Attempt-spare)/2 > r.opts.Attempts {
		err = errLost
	} else if err = r.safely(timer); err == nil {
		r.tell(m.Ack())
		return
	}
	r.failed(m, delivered{timer, revision, meta.Sequence.Stream}, err)
}

// delivered is a timer that is due, as the stream has it.
type delivered struct {
	Timer
	revision string
	sequence uint64
}

// spare is how often a timer may come to processes that end, or lose their
// connection, before they call it, besides what its calls may.
const spare = 10

// errLost is why a timer is dead whose calls did not even fail.
var errLost = errors.New("the processes that called it ended before the calls did")

// keep tells the server that a timer is in hand, until it is answered or given up.
func (r *runner) keep(m *nats.Msg) (answered func()) {
	done := make(chan struct{})
	r.keepers.Go(func() {
		ticks := time.NewTicker(r.ackWait / 3)
		defer ticks.Stop()
		for {
			select {
			case <-done:
				return
			case <-r.over:
				_ = m.Nak() // an error if it was answered
				return
			case <-ticks.C:
				r.tell(m.InProgress())
			}
		}
	})
	return func() { close(done) }
}

// safely makes a panic an error.
func (r *runner) safely(timer Timer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("the call of a timer panicked", "id", timer.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return r.fire(r.calls, timer)
}

// failed has a timer called again later, or buries it.
func (r *runner) failed(m *nats.Msg, timer delivered, err error) {
	log := r.log.With("id", timer.ID, "attempt", timer.Attempt, "error", err)
	if r.calls.Err() != nil { // that it was broken off is no fault of it
		r.tell(m.Nak())
		return
	}
	if timer.Attempt < r.opts.Attempts {
		log.Warn("the call of a timer failed")
		r.tell(m.NakWithDelay(pauseAfter(timer.Attempt)))
		return
	}
	switch err := r.bury(r.calls, timer, err); {
	case moved(err):
		log.Warn("the call of a timer failed that was set again or cancelled meanwhile")
		r.tell(m.NakWithDelay(pauseAfter(timer.Attempt))) // of what is gone it means nothing
		return
	case err != nil:
		log.Error("a timer is dead and could not be put with the dead ones", "because", err)
		r.tell(m.NakWithDelay(pauseAfter(timer.Attempt)))
		return
	}
	log.Error("a timer is dead: too many calls failed")
	r.tell(m.Term())
}

// pauseAfter returns how long a timer waits after so many calls.
func pauseAfter(calls int) time.Duration {
	const first, longest = 100 * time.Millisecond, time.Minute
	long := min(first<<min(calls-1, 16), longest)
	return long*3/4 + rand.N(long/2)
}

// tell logs that the server was not told something. It then delivers the timer again.
func (r *runner) tell(err error) {
	if err != nil {
		r.log.Warn("the server was not told of a call", "error", err)
	}
}

// clip shortens what a header would not take.
func clip(s string) string {
	const most = 800
	if len(s) > most {
		s = s[:most] + "…"
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

func text(n int) string { return strconv.Itoa(n) }

// number undoes text. What is no number is 0.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
