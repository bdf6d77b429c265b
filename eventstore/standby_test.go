package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

func TestStandby(t *testing.T) {
	t.Parallel()
	for _, env := range sites {
		t.Run(env.name, func(t *testing.T) {
			t.Parallel()
			s := env.start(t)
			for _, item := range []item{
				{"a slow holder keeps it", standbySlow},
				{"a holder that is gone loses it", standbyGone},
				{"a holder that never got anything", standbyEmpty},
				{"a paused holder", standbyPaused},
				{"removed and unknown", standbyRemoved},
			} {
				t.Run(item.name, func(t *testing.T) {
					t.Parallel()
					item.run(t, s)
				})
			}
		})
	}
}

var shared = &eventstore.ConsumerOptions{Shared: true}

// waiter is a process that stands by.
type waiter struct{ over chan error }

func (s site) standby(ctx context.Context, t *testing.T, log, name string) *waiter {
	t.Helper()
	store := s.open(t, testutil.Connect(t, s), log, nil)
	w := &waiter{make(chan error, 1)}
	go func() { w.over <- store.Standby(ctx, name) }()
	return w
}

// waits checks that it is told nothing for a while.
func (w *waiter) waits(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case err := <-w.over:
		t.Fatalf("a standby was told to take over: %v", err)
	case <-time.After(d):
	}
}

// takesOver checks that it is told to within a time.
func (w *waiter) takesOver(t *testing.T, within time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case err := <-w.over:
		if err != nil {
			t.Errorf("the standby ended with %v", err)
		}
		t.Logf("the standby takes over after %v", time.Since(began))
	case <-time.After(within):
		t.Fatal("no standby takes over")
	}
}

// soon is the two seconds of the pin and what a busy machine needs besides.
const soon = 20 * time.Second

func standbySlow(t *testing.T, s site) {
	log := s.log(t, "slow", nil)
	id := stream(t)
	add(t, log, id, eventstore.Any, events("1"), nil)
	c := consume(t, log, "slow", 0, shared)
	ctx, cancel := context.WithCancel(t.Context())
	all := []*waiter{s.standby(ctx, t, log.Name(), "slow"), s.standby(ctx, t, log.Name(), "slow")}
	deliveries(t, c, 0, 1)
	all[0].waits(t, 5*time.Second)
	for range 300 {
		add(t, log, id, eventstore.Any, events("x"), nil)
	}
	all[0].waits(t, 3*time.Second)
	deliveries(t, c, 1, 301)
	cancel()
	for _, w := range all {
		if err := <-w.over; !errors.Is(err, context.Canceled) {
			t.Errorf("a standby ended with %v", err)
		}
	}
}

func standbyGone(t *testing.T, s site) {
	log := s.log(t, "gone", nil)
	id := stream(t)
	add(t, log, id, eventstore.Any, events("1"), nil)
	for _, busy := range []bool{false, true} {
		nc := testutil.Connect(t, s)
		holder := s.open(t, nc, log.Name(), nil)
		name := fmt.Sprint("gone-", busy)
		c := consume(t, holder, name, 0, shared)
		deliveries(t, c, 0, 1)
		w := s.standby(t.Context(), t, log.Name(), name)
		w.waits(t, 3*time.Second)
		nc.Close()
		wantEnded(t, c, eventstore.ErrUnavailable)
		if busy {
			add(t, log, id, eventstore.Any, events("x"), nil)
		}
		w.takesOver(t, soon)
	}
}

// On an empty log there is no message for the server to say with whose the
// consumer is. It is the one's who came first.
func standbyEmpty(t *testing.T, s site) {
	log := s.log(t, "empty", nil)
	id := stream(t)
	nc := testutil.Connect(t, s)
	c := consume(t, s.open(t, nc, log.Name(), nil), "one", 0, shared)
	w := s.standby(t.Context(), t, log.Name(), "one")
	w.waits(t, 3*time.Second)
	add(t, log, id, eventstore.Any, events("1"), nil)
	deliveries(t, c, 0, 1)
	w.waits(t, 3*time.Second)
	nc.Close()
	w.takesOver(t, soon)
}

// A holder that is paused loses the consumer, and what it then says late moves
// nothing.
func standbyPaused(t *testing.T, s site) {
	log := s.log(t, "paused", nil)
	id := stream(t)
	for range 100 {
		add(t, log, id, eventstore.Any, events("x"), nil)
	}
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	nc := through(t, []*proxy{p}, nats.MaxReconnects(-1))
	c := consume(t, s.open(t, nc, log.Name(), nil), "first", 0, shared)
	deliveries(t, c, 0, 50)
	c.Done(10)
	w := s.standby(t.Context(), t, log.Name(), "first")
	w.waits(t, 3*time.Second)
	p.hold(toServer)
	w.takesOver(t, soon)

	next := consume(t, log, "second", 10, shared)
	if err := log.RemoveConsumer(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	deliveries(t, next, 10, 20)
	next.Done(15)
	info := s.consumer(t, log.Name(), "second")
	eventually(t, "the new one acknowledged", func() bool { return info().AckFloor.Stream == 15 })
	c.Done(50)
	p.release()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	deliveries(t, next, 20, 100)
	next.Done(20)
	eventually(t, "it acknowledged again", func() bool { return info().AckFloor.Stream >= 20 })
	if at := info().AckFloor.Stream; at != 20 {
		t.Errorf("the floor is at %d", at)
	}
	for c.Head() > 0 {
		if _, err := c.Next(t.Context()); err != nil {
			if !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("the old one ended with %v", err)
			}
			break
		}
	}
}

func standbyRemoved(t *testing.T, s site) {
	log := s.log(t, "removed-shared", nil)
	if err := log.Standby(t.Context(), "unknown"); err != nil {
		t.Errorf("a consumer that is not there: %v", err)
	}
	consume(t, log, "mine", 0, nil)
	for _, name := range []string{"mine", "", "a.b"} {
		if err := log.Standby(t.Context(), name); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("consumer %q: %v", name, err)
		}
	}
	add(t, log, stream(t), eventstore.NoStream, events("x"), nil)
	consume(t, log, "theirs", 1, shared)
	w := s.standby(t.Context(), t, log.Name(), "theirs")
	w.waits(t, time.Second)
	if err := log.RemoveConsumer(t.Context(), "theirs"); err != nil {
		t.Fatal(err)
	}
	w.takesOver(t, soon)
}
