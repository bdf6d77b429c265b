package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestConsume(t *testing.T) {
	t.Parallel()
	for _, env := range sites {
		t.Run(env.name, func(t *testing.T) {
			t.Parallel()
			s := env.start(t)
			for _, item := range []item{
				{"catch up and go on live", consumeLive},
				{"from a position", consumeAfter},
				{"some kinds", consumeKinds},
				{"lag", consumeLag},
				{"names", consumeNames},
				{"positions of another log", consumeElsewhere},
				{"removed", consumeRemoved},
				{"no commit", consumeForeign},
				{"context", consumeContext},
			} {
				t.Run(item.name, func(t *testing.T) {
					t.Parallel()
					item.run(t, s)
				})
			}
		})
	}
}

// consume makes a consumer that ends with the test.
func consume(t *testing.T, s *eventstore.Store, name string, after uint64, opts *eventstore.ConsumerOptions) *eventstore.Consumer {
	t.Helper()
	c, err := s.Consume(t.Context(), name, after, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// deliveries reads from a consumer up to a position.
func deliveries(t *testing.T, c *eventstore.Consumer, after, upTo uint64) (all []eventstore.Delivery) {
	t.Helper()
	for p := after + 1; p <= upTo; p++ {
		d, err := c.Next(t.Context())
		if err != nil {
			t.Fatalf("position %d: %v", p, err)
		}
		if d.Position != p || d.Recorded.IsZero() || d.Recorded.Location() != time.UTC {
			t.Fatalf("position %d is delivered as %d, of %v", p, d.Position, d.Recorded)
		}
		all = append(all, d)
	}
	return all
}

func delivered(all []eventstore.Delivery) (out []eventstore.Event) {
	for _, d := range all {
		out = append(out, d.Events...)
	}
	return out
}

// wantEnded checks that a consumer has ended with an error of this kind, and for
// good.
func wantEnded(t *testing.T, c *eventstore.Consumer, kind error) {
	t.Helper()
	_, err := c.Next(t.Context())
	if !errors.Is(err, kind) {
		t.Fatalf("it ended with %v, want %v", err, kind)
	}
	if _, again := c.Next(t.Context()); !errors.Is(again, kind) {
		t.Errorf("after %v: %v", err, again)
	}
	t.Log(err)
}

func (s site) consumer(t *testing.T, log, name string) func() *jetstream.ConsumerInfo {
	t.Helper()
	js := s.jetStream(t)
	return func() *jetstream.ConsumerInfo {
		consumer, err := js.Consumer(t.Context(), log, name)
		if err != nil {
			t.Fatal(err)
		}
		return consumer.CachedInfo()
	}
}

func consumeLive(t *testing.T, s site) {
	log := s.log(t, "lively", nil)
	const writers, each = 8, 150
	before := scatter(t, log, 100)
	first := before[len(before)-1].Position
	var working sync.WaitGroup
	for w := range writers {
		working.Go(func() {
			for i := range each {
				id := eventstore.StreamID{Kind: "live", ID: fmt.Sprint(w, i%3)}
				if _, err := log.Append(t.Context(), id, eventstore.Any, events("x"), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer working.Wait()
	var reading sync.WaitGroup
	for _, name := range []string{"plain", "shared", ""} {
		reading.Go(func() {
			c := consume(t, log, name, 0, &eventstore.ConsumerOptions{Shared: name == "shared"})
			all := deliveries(t, c, 0, first+writers*each)
			wantLogged(t, delivered(all[:first]), before)
			if n := len(delivered(all[first:])); n != writers*each {
				t.Errorf("%d events, want %d", n, writers*each)
			}
			if h := c.Head(); h != first+writers*each {
				t.Errorf("the log ends at %d, and the consumer says %d", first+writers*each, h)
			}
		})
	}
	reading.Wait()
}

func consumeAfter(t *testing.T, s site) {
	log := s.log(t, "after", nil)
	all := scatter(t, log, 40)
	recorded := logged(t, log, 0)
	for _, shared := range []bool{false, true} {
		for _, after := range []uint64{0, 1, 17, 39, 40} {
			opts := &eventstore.ConsumerOptions{Shared: shared, Metadata: map[string]string{"of": "test"}}
			for _, e := range recorded {
				if e.Position == after {
					opts.Recorded = e.Recorded
				}
			}
			name := fmt.Sprintf("after-%d-%t", after, shared)
			c := consume(t, log, name, after, opts)
			if h := c.Head(); h != 40 {
				t.Errorf("the consumer says that the log ends at %d", h)
			}
			rest := slices.DeleteFunc(slices.Clone(all), func(e eventstore.Event) bool { return e.Position <= after })
			wantLogged(t, delivered(deliveries(t, c, after, 40)), rest)
			if info := s.consumer(t, log.Name(), name)(); info.Config.Metadata["of"] != "test" {
				t.Errorf("the server says %v", info.Config.Metadata)
			}
		}
	}
}

func consumeKinds(t *testing.T, s site) {
	log := s.log(t, "kinds", nil)
	all := scatter(t, log, 40)
	c := consume(t, log, "kinds", 0, &eventstore.ConsumerOptions{Kinds: []string{"payment", "other"}})
	paid := slices.DeleteFunc(all, func(e eventstore.Event) bool { return e.Stream.Kind != "payment" })
	wantLogged(t, delivered(deliveries(t, c, 0, 40)), paid)
	if _, err := log.Consume(t.Context(), "kinds-2", 0, &eventstore.ConsumerOptions{Kinds: []string{"a.b"}}); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a kind that no stream can have: %v", err)
	}
}

func consumeLag(t *testing.T, s site) {
	log := s.log(t, "lag", nil)
	scatter(t, log, 400)
	for _, after := range []uint64{0, 30} {
		for _, shared := range []bool{false, true} {
			name := fmt.Sprintf("lag-%d-%t", after, shared)
			c := consume(t, log, name, after, &eventstore.ConsumerOptions{Shared: shared})
			info := s.consumer(t, log.Name(), name)
			wantFloor := func(position uint64) {
				t.Helper()
				eventually(t, fmt.Sprintf("position %d is acknowledged", position), func() bool { return info().AckFloor.Stream == position })
			}
			deliveries(t, c, after, 100)
			c.Done(after) // before its first one
			c.Done(after + 20)
			wantFloor(after + 20)
			c.Done(after + 10) // never back
			c.Done(1000)       // no further than it read
			wantFloor(100)
			deliveries(t, c, 100, 400)
			var working sync.WaitGroup
			for p := uint64(101); p <= 400; p++ {
				working.Go(func() { c.Done(p) })
			}
			working.Wait()
			wantFloor(400)
			eventually(t, "nothing is left", func() bool { return info().NumPending == 0 && info().NumAckPending == 0 })
			c.Close()
			c.Done(400)
		}
	}
}

func consumeNames(t *testing.T, s site) {
	log := s.log(t, "names", nil)
	scatter(t, log, 3)
	count := s.consumers(t, log.Name())
	first := consume(t, log, "name", 0, nil)
	for name, opts := range map[string]*eventstore.ConsumerOptions{
		"name": nil, "a.b": nil, "*": nil, "": {Shared: true},
	} {
		if _, err := log.Consume(t.Context(), name, 0, opts); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("consumer %q: %v", name, err)
		}
	}
	deliveries(t, first, 0, 3)
	first.Close()
	first.Close()
	wantEnded(t, first, eventstore.ErrUnavailable)
	if n := count(); n != 1 {
		t.Errorf("closed, %d consumers are left", n)
	}
	for range 2 {
		if err := log.RemoveConsumer(t.Context(), "name"); err != nil {
			t.Error(err)
		}
	}
	wantNone(t, count)
	for range 3 {
		c := consume(t, log, "", 1, nil)
		deliveries(t, c, 1, 3)
		c.Done(3)
		c.Close()
	}
	wantNone(t, count)
}

func consumeElsewhere(t *testing.T, s site) {
	if s.replicas > 1 && testing.Short() {
		t.Skip("a cluster may be behind for long")
	}
	log := s.log(t, "elsewhere", nil)
	scatter(t, log, 3)
	count := s.consumers(t, log.Name())
	_, err := log.Consume(t.Context(), "beyond", 4, nil)
	wantDamage(t, "beyond the end", err, eventstore.StreamID{}, 4)
	_, err = log.Consume(t.Context(), "other", 3, &eventstore.ConsumerOptions{Recorded: time.Now()})
	wantDamage(t, "another commit", err, eventstore.StreamID{}, 3)
	wantNone(t, count)
}

func consumeRemoved(t *testing.T, s site) {
	log := s.log(t, "removed", nil)
	scatter(t, log, 3)
	for _, shared := range []bool{false, true} {
		for _, waiting := range []bool{false, true} {
			name := fmt.Sprintf("removed-%t-%t", shared, waiting)
			c := consume(t, log, name, 0, &eventstore.ConsumerOptions{Shared: shared})
			deliveries(t, c, 0, 3)
			ended := make(chan error, 1)
			if waiting {
				go func() {
					_, err := c.Next(t.Context())
					ended <- err
				}()
			}
			if err := log.RemoveConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if !waiting {
				_, err := c.Next(t.Context())
				ended <- err
			}
			if err := <-ended; !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("removed, shared=%t, waiting=%t: %v", shared, waiting, err)
			}
		}
	}
}

func consumeForeign(t *testing.T, s site) {
	nc := testutil.Connect(t, s)
	log := s.open(t, nc, "foreign", nil)
	add(t, log, eventstore.StreamID{Kind: "order", ID: "1"}, eventstore.NoStream, events("1"), nil)
	for _, m := range []*nats.Msg{
		{Subject: "foreign.order.1", Data: []byte("{}"), Header: nats.Header{"Nats-Pin-Id": {"mine"}, "Status": {"503"}}},
		{Subject: "foreign.order.%zz", Data: []byte("{}")},
	} {
		if _, err := nc.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
	}
	c := consume(t, log, "all", 0, &eventstore.ConsumerOptions{Shared: true})
	deliveries(t, c, 0, 1)
	wantEnded(t, c, eventstore.ErrCorrupt)
	// What nobody wants is not looked at, but for where it belongs.
	c = consume(t, log, "payments", 0, &eventstore.ConsumerOptions{Kinds: []string{"payment"}})
	deliveries(t, c, 0, 2)
	wantEnded(t, c, eventstore.ErrCorrupt)
}

// A context that ends is no doubt.
func consumeContext(t *testing.T, s site) {
	log := s.log(t, "context", nil)
	for _, shared := range []bool{false, true} {
		last, err := log.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := consume(t, log, fmt.Sprint("context-", shared), last, &eventstore.ConsumerOptions{Shared: shared})
		for i := range uint64(3) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatal(err)
			}
			cancel()
			add(t, log, stream(t), eventstore.Any, events("x"), nil)
			deliveries(t, c, last+i, last+i+1)
		}
	}
}
