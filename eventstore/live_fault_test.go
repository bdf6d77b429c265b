package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// A combiner has every event once: it reads the log, goes on with what comes live,
// and begins again at every doubt.
type combiner struct {
	*testing.T
	store  *eventstore.Store
	nc     *nats.Conn
	kept   []eventstore.Event
	at     atomic.Uint64 // position of the last one
	live   int           // of them came live
	doubts []error
}

func (c *combiner) keep(e eventstore.Event) {
	c.kept = append(c.kept, e)
	c.at.Store(e.Position)
}

// to goes on until a position at least, or ends with what is more than a doubt.
func (c *combiner) to(ctx context.Context, position uint64) error {
	for c.at.Load() < position {
		err := c.listen(ctx, position)
		if err != nil && !errors.Is(err, eventstore.ErrMissed) && !errors.Is(err, eventstore.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if missed := new(eventstore.MissedError); errors.As(err, &missed) && missed.After != c.at.Load() {
			c.Errorf("at position %d: %v", c.at.Load(), err)
		}
		if err != nil {
			c.doubts = append(c.doubts, err)
		}
	}
	return nil
}

func (c *combiner) listen(ctx context.Context, position uint64) error {
	opts := &eventstore.LiveOptions{CatchUp: func() (uint64, error) {
		err := c.read(ctx)
		return c.at.Load(), err
	}}
	for e, err := range eventstore.Live(ctx, c.nc, c.store.Name(), opts) {
		if err != nil {
			return err
		}
		c.keep(e)
		if c.live++; e.Position >= position && e.Revision().Version == e.Version {
			return nil
		}
	}
	return errors.New("the live feed ended without an error")
}

func (c *combiner) read(ctx context.Context) error {
	for e, err := range c.store.Log(ctx, c.at.Load(), nil) {
		if err != nil {
			return err
		}
		c.keep(e)
	}
	return nil
}

// want checks that it has the beginning of the log, and reports.
func (c *combiner) want(all []eventstore.Event) {
	c.Helper()
	if len(c.kept) > len(all) {
		c.Fatalf("%d events, and the log has %d", len(c.kept), len(all))
	}
	wantLogged(c.T, c.kept, all[:len(c.kept)])
	if c.live == 0 {
		c.Error("nothing came live")
	}
	c.Logf("%d of %d events came live; %d doubts: %v", c.live, len(c.kept), len(c.doubts), errors.Join(c.doubts...))
}

// write appends to several streams until done, at most so many commits ahead of a
// reader, whom the next one shows that it missed one.
func (c *combiner) write(log *eventstore.Store, ahead uint64, done <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		id := eventstore.StreamID{Kind: []string{"order", "payment"}[i%2], ID: fmt.Sprint(i % 7)}
		at, err := log.Append(c.Context(), id, eventstore.Any, events("a", "b", "c")[:1+i%3], nil)
		if err != nil {
			c.Error(err)
			return
		}
		for wait := true; wait; wait = at.Position > c.at.Load()+ahead {
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}
}

// whileWriting reads in a test's own goroutine.
func (c *combiner) whileWriting(log *eventstore.Store, read func()) {
	done := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(done)
	for range 2 {
		writing.Go(func() { c.write(log, 50, done) })
	}
	read()
}

// The log and a live feed together miss nothing and double nothing, however often
// the connection is lost.
func TestLiveOverCuts(t *testing.T) {
	t.Parallel()
	for _, env := range sites {
		t.Run(env.name, func(t *testing.T) {
			t.Parallel()
			s := env.start(t)
			log := s.live(t, "live-cuts")
			cut := s.cutting(t, log.Name(), 100_000)
			c := &combiner{T: t, store: cut.store, nc: eventstore.Connection(cut.store)}
			c.whileWriting(log, func() {
				for cut.cuts() < 5 || len(c.doubts) < 3 || c.live < 100 {
					if err := c.to(t.Context(), c.at.Load()+100); err != nil {
						t.Error(err)
						return
					}
				}
			})
			c.want(logged(t, log, 0))
		})
	}
}

// The same while the log's leaders take turns, and while the nodes that lead are
// stopped.
func TestLiveOverLeaders(t *testing.T) {
	t.Parallel()
	cluster := testutil.Cluster(t)
	s := site{Connector: cluster, replicas: 3}
	log := s.live(t, "live-leaders")
	nc := testutil.Connect(t, s)
	js := s.jetStream(t)
	leader := func() (name string) {
		eventually(t, "the log has a leader", func() bool {
			stream, err := js.Stream(t.Context(), log.Name())
			if err != nil {
				return false
			}
			name = stream.CachedInfo().Cluster.Leader
			return name != ""
		})
		return name
	}
	c := &combiner{T: t, store: s.open(t, nc, log.Name(), nil), nc: nc}
	goOn := func() {
		if err := c.to(t.Context(), c.at.Load()+100); err != nil {
			t.Fatal(err)
		}
	}
	c.whileWriting(log, func() {
		for range 3 {
			before := leader()
			if _, err := js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN."+log.Name(), nil, patience); err != nil {
				t.Error(err)
			}
			goOn()
			t.Logf("%s led, and %s leads", before, leader())
		}
		for range 2 {
			var node int
			before := leader()
			if _, err := fmt.Sscanf(before, "node-%d", &node); err != nil {
				t.Error(err)
				return
			}
			stopped := make(chan error, 1)
			go func() { stopped <- cluster.Stop(node) }()
			goOn()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			t.Logf("%s was stopped, and %s leads", before, leader())
			if err := cluster.Restart(t.Context(), node); err != nil {
				t.Error(err)
				return
			}
			goOn()
		}
	})
	c.want(logged(t, log, 0))
}
