package timer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/headwater-go/headwater/testutil"
)

// A timer is called once, after its time, with what it was set with.
func TestCalled(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	c := &calls{}
	run(t, timers, c.fire)
	due := set(t, timers, "a", 400*time.Millisecond, "some data")
	past := set(t, timers, "past", -time.Hour, "")
	c.called(t, "a", 1)
	c.called(t, "past", 1)
	empty(t, nc)
	for _, want := range []timer.Timer{due, past} {
		got := c.of(want.ID)
		if len(got) != 1 || !got[0].At.Equal(want.At) || string(got[0].Data) != string(want.Data) || got[0].Attempt != 1 {
			t.Errorf("called with %+v, want %+v once", got, want)
		}
	}
}

// Of two Sets of an id the later one counts, in whatever state the first one is.
func TestReplaced(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	set(t, timers, "waits", time.Hour, "old")
	set(t, timers, "earlier", 300*time.Millisecond, "old")
	set(t, timers, "due", 0, "old")
	set(t, timers, "same", time.Hour, "old")
	until(t, "a timer that is due", func() bool { return pending(t, nc, "due") == 1 })
	for _, id := range []string{"waits", "due", "same", "same"} {
		set(t, timers, id, 500*time.Millisecond, "new")
	}
	set(t, timers, "earlier", time.Hour, "new")
	set(t, timers, "end", time.Second, "new")
	c := &calls{}
	run(t, timers, c.fire)
	for _, id := range []string{"waits", "due", "same", "end"} {
		c.called(t, id, 1)
	}
	until(t, "an end", func() bool { return left(t, nc) == 1 })
	for _, id := range []string{"waits", "due", "same"} {
		if got := c.of(id); len(got) != 1 || string(got[0].Data) != "new" {
			t.Errorf("%s was called with %+v", id, got)
		}
	}
	if got := c.of("earlier"); len(got) > 0 {
		t.Errorf("one that was put off was called: %+v", got)
	}
}

// Timers that are set again at the very moment when they are due are not lost.
func TestReplacedWhenDue(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	const many = 300
	at := time.Now().Add(time.Second)
	ids := make([]string, many)
	for i := range ids {
		ids[i] = fmt.Sprintf("t%d", i)
		if err := timers.Set(t.Context(), timer.Timer{ID: ids[i], At: at, Data: []byte("old")}); err != nil {
			t.Fatal(err)
		}
	}
	// Begin before, end after: some are set again while the server makes them due.
	for round := 0; round < 3 || time.Now().Before(at.Add(500*time.Millisecond)); round++ {
		for _, id := range ids {
			if err := timers.Set(t.Context(), timer.Timer{ID: id, At: at, Data: fmt.Append(nil, round)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range ids {
		if err := timers.Set(t.Context(), timer.Timer{ID: id, At: at, Data: []byte("last")}); err != nil {
			t.Fatal(err)
		}
	}
	c := &calls{}
	run(t, timers, c.fire)
	for _, id := range ids {
		c.await(t, id, func(all []timer.Timer) bool {
			for _, due := range all {
				if due.ID == id && string(due.Data) == "last" {
					return true
				}
			}
			return false
		})
	}
	empty(t, nc)
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	cancel := func(id string) {
		t.Helper()
		if err := timers.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	cancel("never set")
	set(t, timers, "a", 200*time.Millisecond, "")
	set(t, timers, "a.b", 300*time.Millisecond, "")
	set(t, timers, "due", 0, "")
	cancel("a")
	until(t, "a timer that is due", func() bool { return pending(t, nc, "due") == 1 })
	cancel("due")
	cancel("*")
	cancel(">")
	c := &calls{}
	run(t, timers, c.fire)
	c.called(t, "a.b", 1)
	empty(t, nc)
	if len(c.of("a")) > 0 || len(c.of("due")) > 0 {
		t.Error("a timer was called that was cancelled")
	}
	cancel("a.b") // was called
}

// Two processes share the timers, many of which are due at once.
func TestShared(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	nc := testutil.Connect(t, server)
	timers := open(t, nc, &timer.Options{InHand: 64})
	other := open(t, testutil.Connect(t, server), &timer.Options{InHand: 64})
	const many = 3000
	at := time.Now().Add(time.Second)
	for i := range many {
		if err := timers.Set(t.Context(), timer.Timer{ID: fmt.Sprint(i), At: at}); err != nil {
			t.Fatal(err)
		}
	}
	c := &calls{}
	var here, there atomic.Int64
	run(t, timers, func(ctx context.Context, due timer.Timer) error { here.Add(1); return c.fire(ctx, due) })
	run(t, other, func(ctx context.Context, due timer.Timer) error { there.Add(1); return c.fire(ctx, due) })
	c.await(t, "all timers", func(all []timer.Timer) bool { return len(all) >= many })
	empty(t, nc)
	seen := make(map[string]bool)
	for _, due := range c.all {
		seen[due.ID] = true
	}
	if len(seen) != many || len(c.all) != many {
		t.Errorf("%d timers were called, in %d calls", len(seen), len(c.all))
	}
	if here.Load() == 0 || there.Load() == 0 {
		t.Errorf("they are not shared: %d and %d", here.Load(), there.Load())
	}
}

// A call that fails or panics is made again, and others do not wait for it.
func TestCalledAgain(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, &timer.Options{InHand: 1, Logger: logger(t)})
	c := &calls{}
	c.answer = func(due timer.Timer) error {
		switch {
		case due.ID == "panics" && due.Attempt == 1:
			panic("oh")
		case due.ID == "fails" && (due.Attempt < 4 || len(c.of("good")) == 0):
			return errFailed
		}
		return nil
	}
	run(t, timers, c.fire)
	set(t, timers, "fails", 0, "data")
	c.called(t, "fails", 1)
	set(t, timers, "panics", 0, "data")
	set(t, timers, "good", 0, "data")
	c.called(t, "good", 1)
	c.called(t, "panics", 2)
	c.called(t, "fails", 4)
	empty(t, nc)
	for i, due := range c.of("fails") {
		if due.Attempt != i+1 || string(due.Data) != "data" {
			t.Errorf("call %d has %+v", i+1, due)
		}
	}
}

// A timer whose calls all fail is dead: it is listed, and can be set again or
// cancelled.
func TestDead(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, &timer.Options{Attempts: 2})
	var good atomic.Bool
	c := &calls{answer: func(timer.Timer) error {
		if good.Load() {
			return nil
		}
		return fmt.Errorf("%w:\r\nForged: 1 %s", errFailed, strings.Repeat("é", 5000))
	}}
	run(t, timers, c.fire)
	if got := dead(t, timers); len(got) > 0 {
		t.Errorf("dead: %+v", got)
	}
	a := set(t, timers, "a.1", 0, "data of a")
	until(t, "a dead timer", func() bool { return len(dead(t, timers)) == 1 })
	set(t, timers, "b", 0, "")
	until(t, "two dead timers", func() bool { return len(dead(t, timers)) == 2 })
	got := dead(t, timers)[0]
	if got.ID != a.ID || !got.At.Equal(a.At) || string(got.Data) != "data of a" || got.Attempt != 2 || got.Since.Before(got.At) {
		t.Errorf("dead: %+v", got)
	}
	if !strings.HasPrefix(got.Reason, "it failed:\r\nForged: 1 éé") || len(got.Reason) > 1000 {
		t.Errorf("reason: %q", got.Reason)
	}
	good.Store(true)
	if err := timers.Set(t.Context(), got.Timer); err != nil {
		t.Fatal(err)
	}
	c.called(t, "a.1", 3)
	if err := timers.Cancel(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	empty(t, nc)
	if n := len(c.of("b")); n != 2 {
		t.Errorf("b was called %d times", n)
	}
	if last := c.of("a.1")[2]; last.Attempt != 1 || string(last.Data) != "data of a" {
		t.Errorf("a was called again with %+v", last)
	}
}

// A process that died while it put a timer with the dead ones does it again.
func TestDeadTwice(t *testing.T) {
	t.Parallel()
	timers := begin(t, nil)
	for _, reason := range []string{"first", "second"} {
		if err := timer.Bury(t.Context(), timers, timer.Timer{ID: "a", At: time.Unix(1, 0), Attempt: 3}, reason); err != nil {
			t.Fatal(err)
		}
	}
	if got := dead(t, timers); len(got) != 1 || got[0].Reason != "second" || got[0].Attempt != 3 {
		t.Errorf("dead: %+v", got)
	}
}

// While a call takes long the server hears of it, so that it gives the timer to nobody
// else.
func TestLongCall(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	timer.SetAckWait(timers, 3*time.Second)
	said, err := nc.SubscribeSync("$JS.ACK.test-timers.run.>")
	if err != nil {
		t.Fatal(err)
	}
	finish := make(chan struct{})
	c := &calls{answer: func(timer.Timer) error { <-finish; return nil }}
	run(t, timers, c.fire)
	set(t, timers, "long", 0, "")
	defer close(finish)
	for range 3 {
		m, err := said.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != "+WPI" {
			t.Errorf("the server was told %q", m.Data)
		}
	}
}

// When Run is told to end, it waits for calls; what it cannot wait for is for others.
func TestStopped(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, &timer.Options{InHand: 3, Attempts: 1})
	said := acks(t, nc)
	begun := make(chan string, 9)
	finish := make(chan struct{})
	release := make(chan struct{})
	stop := run(t, timers, func(ctx context.Context, due timer.Timer) error {
		begun <- due.ID
		switch due.ID {
		case "finishes":
			<-finish
			return nil
		case "obeys":
			<-ctx.Done()
			return ctx.Err()
		}
		<-release
		return nil
	})
	for _, id := range []string{"finishes", "obeys", "hangs"} {
		set(t, timers, id, 0, "")
		<-begun
	}
	set(t, timers, "waits", 0, "")
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	close(release)
	for range 2 { // of the two that were broken off
		said.want("-NAK")
	}
	c := &calls{}
	run(t, timers, c.fire)
	for _, id := range []string{"obeys", "hangs", "waits"} {
		c.called(t, id, 1)
	}
	empty(t, nc)
	if got := dead(t, timers); len(got) > 0 {
		t.Errorf("dead: %+v", got)
	}
	if len(c.of("finishes")) > 0 || len(c.of("obeys")) != 1 {
		t.Errorf("calls: %+v", c.all)
	}
}

// A message that is no timer is removed.
func TestForeign(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	c := &calls{}
	run(t, timers, c.fire)
	for _, subject := range []string{"a", "a.b", "%2e.1-0000000000000000", "a.01-0000000000000000", "a.1-000000000000000000", "a.1-0000000000000000.b", "%C3.1-0000000000000000"} {
		if err := nc.Publish("timers.test.due."+subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	set(t, timers, "a", 0, "")
	c.called(t, "a", 1)
	empty(t, nc)
	if len(c.all) != 1 {
		t.Errorf("called: %+v", c.all)
	}
}

func TestRunInvalid(t *testing.T) {
	t.Parallel()
	timers := begin(t, nil)
	if err := timers.Run(t.Context(), nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
