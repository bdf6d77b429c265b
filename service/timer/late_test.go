package timer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Cancel that was given up is carried out late, when the timer was set again.
func TestCancelledLate(t *testing.T) {
	t.Parallel()
	over, direct, w := wired(t)
	timers, other := open(t, over, nil), open(t, direct, nil)
	for _, held := range []string{"$JS.API.STREAM.PURGE.", "timers.test.set."} {
		set(t, other, "a", time.Hour, "old")
		caught, letGo := w.up.hold(held)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-caught; cancel() }()
		if err := timers.Cancel(ctx, "a"); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("cancel without an answer: %v", err)
		}
		set(t, other, "a", time.Hour, "new")
		letGo()
		if err := timers.Cancel(t.Context(), "b"); err != nil { // comes after it
			t.Fatal(err)
		}
		if !waits(t, direct, "a") {
			t.Errorf("%s came late, and removed a timer that was set since", held)
		}
	}
}

// waits reports whether a timer is set.
func waits(t *testing.T, nc *nats.Conn, id string) bool {
	t.Helper()
	info, err := stream(t, nc).Info(t.Context(), jetstream.WithSubjectFilter("timers.test.set."+id+".*"))
	if err != nil {
		t.Fatal(err)
	}
	for subject := range info.State.Subjects {
		if !strings.Contains(subject, "cancelled") {
			return true
		}
	}
	return false
}

// A process cancels a timer and dies before that is done. What is left is removed.
func TestCancelledHalf(t *testing.T) {
	t.Parallel()
	over, direct, w := wired(t)
	timers, other := open(t, over, nil), open(t, direct, &timer.Options{Logger: logger(t)})
	timer.SetLeftover(timers, time.Second)
	caught, _ := w.up.hold("$JS.API.STREAM.PURGE.")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-caught; cancel() }()
	if err := timers.Cancel(ctx, "a"); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("cancel without an answer: %v", err)
	}
	w.up.sever()
	if n := left(t, direct); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	c := &calls{}
	run(t, other, c.fire)
	empty(t, direct)
	if len(c.all) > 0 {
		t.Errorf("called: %+v", c.all)
	}
}

// A timer is cancelled, or set again, while its last call fails. It is not dead then.
func TestMovedWhileCalled(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, &timer.Options{Attempts: 1, Logger: logger(t)})
	c := &calls{answer: func(due timer.Timer) error {
		switch {
		case due.ID == "end" || string(due.Data) == "new":
			return nil
		case due.ID == "cancelled":
			if err := timers.Cancel(t.Context(), due.ID); err != nil {
				t.Error(err)
			}
		case due.ID == "replaced":
			set(t, timers, due.ID, 0, "new")
		}
		return errFailed
	}}
	run(t, timers, c.fire)
	set(t, timers, "cancelled", 0, "")
	set(t, timers, "replaced", 0, "")
	set(t, timers, "dead", 0, "")
	c.called(t, "cancelled", 1)
	c.called(t, "replaced", 2)
	until(t, "one message to be left", func() bool { return left(t, nc) == 1 })
	set(t, timers, "end", 0, "")
	c.called(t, "end", 1)
	if got := dead(t, timers); len(got) != 1 || got[0].ID != "dead" {
		t.Errorf("dead: %+v", got)
	}
}

// A timer that the server forgot is cancelled when it was found. It is not set again.
func TestForgottenCancelled(t *testing.T) {
	t.Parallel()
	over, direct, w := wired(t)
	timers, other := open(t, over, nil), open(t, direct, nil)
	timer.SetOverdue(timers, 50*time.Millisecond)
	// Without a schedule it does not become due.
	if err := direct.Publish("timers.test.set.a.1000000000-0123456789abcdef", nil); err != nil {
		t.Fatal(err)
	}
	caught, letGo := w.up.hold("HPUB timers.test.set.a.")
	c := &calls{}
	run(t, timers, c.fire)
	<-caught
	if err := other.Cancel(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	letGo()
	set(t, timers, "end", 0, "")
	c.called(t, "end", 1)
	empty(t, direct)
	if n := len(c.of("a")); n > 0 {
		t.Errorf("it was called %d times", n)
	}
}

// A timer that was sent when Run is told to end is for others at once.
func TestSentAtTheEnd(t *testing.T) {
	t.Parallel()
	over, direct, w := wired(t)
	timers := open(t, over, nil)
	said := acks(t, direct)
	ctx, cancel := context.WithCancel(t.Context())
	c, ended := &calls{}, make(chan error, 1)
	go func() { ended <- timers.Run(ctx, c.fire) }()
	set(t, timers, "first", 0, "")
	c.called(t, "first", 1)
	said.want("+ACK")
	sent, release := w.down.hold("timers.test.due.")
	set(t, open(t, direct, nil), "a", 0, "")
	<-sent
	unsubscribed, letGo := w.up.hold("UNSUB ")
	cancel()
	<-unsubscribed
	release()
	letGo()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	said.want("-NAK")
	if n := len(c.of("a")); n > 0 {
		t.Errorf("it was called %d times", n)
	}
}

// Timers that come late, when all calls are in hand, are for others at once.
func TestSentLate(t *testing.T) {
	t.Parallel()
	over, direct, w := wired(t)
	timers, other := open(t, over, &timer.Options{InHand: 1}), open(t, direct, nil)
	said, finish := acks(t, direct), make(chan struct{})
	c := &calls{answer: func(due timer.Timer) error {
		if due.ID == "first" {
			return nil
		}
		<-finish
		return nil
	}}
	run(t, timers, c.fire)
	defer close(finish)
	set(t, other, "first", 0, "")
	said.want("+ACK")
	sent, release := w.down.hold("timers.test.due.")
	set(t, other, "a", 0, "")
	<-sent
	// With the first pull held up, another one is made.
	set(t, other, "b", 0, "")
	until(t, "two timers to be sent", func() bool { return underWay(t, direct) == 2 })
	release()
	said.want("-NAK")
}

// acknowledgements are what the server is told of calls.
type acknowledgements struct {
	*testing.T
	sub *nats.Subscription
}

func acks(t *testing.T, nc *nats.Conn) acknowledgements {
	t.Helper()
	sub, err := nc.SubscribeSync("$JS.ACK.test-timers.run.>")
	if err != nil {
		t.Fatal(err)
	}
	return acknowledgements{t, sub}
}

// want waits for one, which is not for later.
func (a acknowledgements) want(what string) {
	a.Helper()
	for {
		m, err := a.sub.NextMsg(patience)
		if err != nil {
			a.Fatalf("waited for %s: %v", what, err)
		}
		if string(m.Data) == what {
			return
		}
	}
}

// underWay returns how many timers were sent and not answered.
func underWay(t *testing.T, nc *nats.Conn) int {
	t.Helper()
	consumer, err := stream(t, nc).Consumer(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo().NumAckPending
}

func stream(t *testing.T, nc *nats.Conn) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "test-timers")
	if err != nil {
		t.Fatal(fmt.Errorf("the timers' stream: %w", err))
	}
	return s
}
