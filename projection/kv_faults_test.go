package projection_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/headwater-go/headwater/projection"
)

// On three nodes, whose processes are killed and paused at random, two processes project
// to a bucket, and all events are handled. Three others count in it, of which each is on
// a node of its own: what one has counted stays, and none sees less than it has seen,
// though leaders that are deposed answer from the past.
func TestKVFaults(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	nodes := natsnode.Start(t, 3)
	rounds := 2
	if soaking {
		rounds = 100
	}
	store, err := eventstore.Open(t.Context(), natsnode.Connect(t, nodes), "test", &eventstore.Options{Replicas: 3, AckWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	out := newOutbox(t)
	opts := &projection.KVOptions{Replicas: 3}
	var processes []*process
	for _, name := range []string{"first", "second"} {
		p := newProcess(t, name, natsnode.Connect(t, nodes), out, nil, &projection.Options{Workers: 2, Batch: 5}, opts)
		processes = append(processes, p)
		start(t, p)
	}
	neverBack(t, natsnode.Connect(t, nodes))
	var counters []*counter
	for _, n := range nodes {
		counters = append(counters, &counter{TB: t, kv: openKV(t, natsnode.Connect(t, []*natsnode.Node{n}), opts)})
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for _, c := range counters {
		working.Go(func() { c.run(stop) })
	}
	working.Go(func() {
		for i := 0; !closed(stop); i++ {
			deposit(t, store, i%10, i)
		}
	})
	for range rounds {
		natsnode.Depose(t, nodes, "KV_"+bucket)
		natsnode.Disturb(t, rng, nodes, "KV_"+bucket)
	}
	close(stop)
	working.Wait()
	for _, p := range processes {
		reached(t, p, end(t, store))
	}
	out.want(store)
	wantCounted(t, counters)
}

// wantCounted checks that what was acknowledged was counted, and no more than was tried.
func wantCounted(t testing.TB, counters []*counter) {
	t.Helper()
	counted, unknown := 0, 0
	for _, c := range counters {
		counted, unknown = counted+c.counted, unknown+c.unknown
	}
	last := &counter{TB: t, kv: counters[0].kv}
	eventually(t, "the bucket is read", func() bool { return last.look() == nil })
	if last.seen < counted || last.seen > counted+unknown {
		t.Errorf("the count is %d after %d, and %d of which it is not known", last.seen, counted, unknown)
	}
	t.Logf("counted to %d, and %d times did not", counted, unknown)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A counter is a process that counts in a bucket.
type counter struct {
	testing.TB
	kv      *projection.KV
	counted int
	unknown int // of which it is not known, or that others were faster than
	seen    int
}

func (c *counter) run(stop <-chan struct{}) {
	for !closed(stop) {
		n := 0
		err := c.do(func(ctx context.Context) error {
			return c.kv.Update(ctx, "counter", func(tx projection.Tx[struct{}]) (err error) {
				if n, err = c.read(tx); err != nil {
					return err
				}
				n++
				return tx.Put("count", fmt.Appendf(nil, `{"position":%d}`, n))
			})
		})
		if err != nil {
			c.unknown++
		} else {
			c.counted, c.seen = c.counted+1, max(c.seen, n)
		}
		_ = c.look() // where it cannot, there is nothing to check
	}
}

// look reads what was counted.
func (c *counter) look() error {
	return c.do(func(ctx context.Context) error {
		return c.kv.Records(ctx, "counter", func(r projection.Records) error {
			_, err := c.read(r)
			return err
		})
	})
}

func (c *counter) do(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	return f(ctx)
}

func (c *counter) read(r projection.Records) (int, error) {
	raw, err := r.Get("count")
	if err != nil {
		return 0, err
	}
	var at struct{ Position int }
	if raw != nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil {
		return 0, err
	}
	if at.Position < c.seen {
		c.Errorf("it was %d, and is %d", c.seen, at.Position)
	}
	c.seen = at.Position
	return at.Position, nil
}
