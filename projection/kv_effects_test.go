package projection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An outbox is where effects go: it does what it is told once for each command id.
type outbox struct {
	t        testing.TB
	mu       sync.Mutex
	done     map[string]bool
	balances map[string]int
	versions map[eventstore.StreamID]uint64
	calls    int
	by       map[string]int // calls, by the process
}

func newOutbox(t testing.TB) *outbox {
	return &outbox{t: t, done: map[string]bool{}, balances: map[string]int{}, versions: map[eventstore.StreamID]uint64{}, by: map[string]int{}}
}

func (o *outbox) send(process string, e deposited, at projection.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	o.by[process]++
	if o.done[at.CommandID("")] {
		return
	}
	o.done[at.CommandID("")] = true
	if last := o.versions[at.Stream]; at.Version != last+1 {
		o.t.Errorf("%s: version %d came after %d", at.Stream, at.Version, last)
	}
	o.versions[at.Stream] = at.Version
	o.balances[at.Stream.ID] += e.Amount
}

func (o *outbox) count(process string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.by[process]
}

// want checks that what was sent is what the log comes to.
func (o *outbox) want(store *eventstore.Store) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if want := folded(o.t, store); !maps.Equal(o.balances, want) {
		o.t.Errorf("sent: %v, log %v", o.balances, want)
	}
	o.t.Logf("%d effects, of which %d came again", o.calls, o.calls-len(o.done))
}

// process is a process of a program that projects effects.
type process struct {
	*projection.Projection[struct{}]
	line *line
}

// newProcess returns a process on a connection of its own. pause is called for each event.
func newProcess(t testing.TB, name string, nc *nats.Conn, out *outbox, pause func(at projection.Event), opts *projection.Options, kv *projection.KVOptions) *process {
	t.Helper()
	store, err := eventstore.Open(t.Context(), nc, "test", &eventstore.Options{AckWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p := newProjection(t, "outbox", store, projection.NewEffects(openKV(t, nc, kv)), projection.From("account", codec,
		projection.On(func(_ context.Context, _ struct{}, e deposited, at projection.Event) error {
			if pause != nil {
				pause(at)
			}
			out.send(name, e, at)
			return nil
		})), opts)
	return &process{Projection: p}
}

// neverBack checks, until the test ends, that no checkpoint goes back.
func neverBack(t testing.TB, nc *nats.Conn) {
	t.Helper()
	kv, err := jetStream(t, nc).KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		last := make(map[string]uint64)
		for entry := range watcher.Updates() {
			if entry != nil {
				checkForward(t, entry, last)
			}
		}
	})
	t.Cleanup(func() {
		_ = watcher.Stop() // the connection may be gone
		watching.Wait()
	})
}

func checkForward(t testing.TB, entry jetstream.KeyValueEntry, last map[string]uint64) {
	var value struct{ Records map[string]string }
	if err := json.Unmarshal(entry.Value(), &value); err != nil {
		t.Error(err)
	}
	for key, record := range value.Records {
		var at struct{ Position uint64 }
		if err := json.Unmarshal([]byte(record), &at); err != nil {
			t.Error(err)
		}
		if at.Position < last[key] {
			t.Errorf("%s went from %d back to %d", key, last[key], at.Position)
		}
		last[key] = at.Position
	}
}

// One process projects, and the other one when that is gone.
func TestKVStandby(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	store, out := testutil.Open(t, server, nil), newOutbox(t)
	var processes [2]*process
	var runs [2]*running
	for i, name := range []string{"first", "second"} {
		processes[i] = newProcess(t, name, testutil.Connect(t, server), out, nil, nil, nil)
	}
	runs[0] = start(t, processes[0])
	reach(t, processes[0], deposit(t, store, 0, 1).Position)
	neverBack(t, testutil.Connect(t, server))
	runs[1] = start(t, processes[1])
	eventually(t, "the second one stands by", func() bool { return processes[1].Status().State == projection.Standby })
	for i := range 40 {
		at := deposit(t, store, i%7, i, 1)
		reach(t, processes[1], at.Position) // it sees what the first one has written
	}
	if err := runs[0].end(); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		deposit(t, store, i%7, i)
	}
	reach(t, processes[1], end(t, store))
	if n := out.count("second"); n < 40 {
		t.Errorf("the second one has sent %d of the 40 after the first one", n)
	}
	if err := runs[1].end(); err != nil {
		t.Fatal(err)
	}
	out.want(store)
}

// A process is cut off while it handles events, and another one takes over. When it can
// go on, nothing of what it has in hand counts.
func TestKVDeposed(t *testing.T) {
	t.Parallel()
	server := listening(t)
	store, out := testutil.Open(t, server, nil), newOutbox(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	nc, line := over(t, server.URL())
	first := newProcess(t, "first", nc, out, func(at projection.Event) {
		if at.Position == 4 {
			once.Do(func() { close(entered); <-leave })
		}
	}, nil, nil)
	second := newProcess(t, "second", testutil.Connect(t, server), out, nil, nil, nil)
	start(t, first)
	for i := range 3 {
		deposit(t, store, i, 1)
	}
	reach(t, first, 3)
	neverBack(t, testutil.Connect(t, server))
	for i := range 3 {
		deposit(t, store, i, 10) // 4 to 6
	}
	<-entered
	line.sever()
	start(t, second)
	for i := range 3 {
		deposit(t, store, i, 100) // 7 to 9
	}
	reach(t, second, 9)
	if n := out.count("second"); n < 6 {
		t.Errorf("the second one has sent %d, and not what came after the first one's checkpoint, 6", n)
	}
	line.mend()
	close(leave)
	eventually(t, "the first one stands by", func() bool { return first.Status().State == projection.Standby })
	reach(t, second, deposit(t, store, 0, 1000).Position)
	out.want(store)
}

// The connections of both processes are cut again and again.
func TestKVCuts(t *testing.T) {
	t.Parallel()
	server := listening(t)
	rng := seeded(t)
	store, out := testutil.Open(t, server, nil), newOutbox(t)
	var processes []*process
	for _, name := range []string{"first", "second"} {
		nc, line := over(t, server.URL())
		p := newProcess(t, name, nc, out, nil, &projection.Options{Workers: 2, Batch: 5}, nil)
		p.line = line
		processes = append(processes, p)
		start(t, p)
	}
	neverBack(t, testutil.Connect(t, server))
	for _, p := range processes {
		random := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		p.line.mu.Lock()
		p.line.interval = func() int { return 10_000 + random.IntN(100_000) }
		p.line.mu.Unlock()
	}
	rounds := 6
	if soaking {
		rounds = 300
	}
	for range rounds {
		for i := range 25 {
			deposit(t, store, rng.IntN(10), i)
		}
		reached(t, processes[0], end(t, store))
	}
	out.want(store)
}

// reached waits as reach does, however often that fails.
func reached(t testing.TB, p runner, position uint64) {
	t.Helper()
	eventually(t, "it is there in spite of cuts", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return p.Wait(ctx, eventstore.Revision{Position: position}) == nil
	})
}

// The node that leads the bucket goes down in the middle, and comes back.
func TestKVLeaderLost(t *testing.T) {
	t.Parallel()
	cluster := testutil.Cluster(t)
	store, out := testutil.Open(t, cluster, &eventstore.Options{Replicas: 3}), newOutbox(t)
	var processes []*process
	for _, name := range []string{"first", "second"} {
		p := newProcess(t, name, testutil.Connect(t, cluster), out, nil, &projection.Options{Workers: 3, Batch: 5}, &projection.KVOptions{Replicas: 3})
		processes = append(processes, p)
		start(t, p)
	}
	watch := testutil.Connect(t, cluster)
	neverBack(t, watch)
	write := func(n int) {
		for i := range n {
			deposit(t, store, i%10, i)
		}
	}
	write(50)
	reach(t, processes[1], end(t, store))
	for range 2 {
		var writing sync.WaitGroup
		writing.Go(func() { write(60) })
		i := leaderOf(t, watch, cluster)
		if err := cluster.Stop(i); err != nil {
			t.Fatal(err)
		}
		writing.Wait()
		write(20)
		reach(t, processes[0], end(t, store))
		if err := cluster.Restart(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	write(20)
	reach(t, processes[1], end(t, store))
	out.want(store)
}

// leaderOf returns the number of the node that leads the bucket.
func leaderOf(t testing.TB, nc *nats.Conn, cluster *embedded.Cluster) (node int) {
	t.Helper()
	js := jetStream(t, nc)
	eventually(t, "the bucket has a leader", func() bool {
		stream, err := js.Stream(t.Context(), "KV_"+bucket)
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		for i := range 3 {
			if stream.CachedInfo().Cluster.Leader == fmt.Sprint("node-", i) {
				node = i
				return true
			}
		}
		return false
	})
	return node
}

// What is parked is retried by a process that does not project, and the one that does
// goes on from there.
func TestKVParked(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	store, out := testutil.Open(t, server, nil), newOutbox(t)
	var mended atomic.Bool
	for _, direct := range []bool{false, true} {
		mended.Store(false)
		on := func(process string) *projection.Projection[struct{}] {
			kv, name := openKV(t, testutil.Connect(t, server), nil), "outbox"
			model := projection.Model[struct{}](projection.NewEffects(kv))
			if direct {
				model, name = kv, "direct"
			}
			return newProjection(t, name, testutil.Open(t, server, nil), model, projection.From("account", codec,
				projection.On(func(_ context.Context, _ struct{}, e deposited, at projection.Event) error {
					if e.Amount == 13 && !mended.Load() {
						return &projection.Permanent{Err: errPoison}
					}
					out.send(process, e, at)
					return nil
				})), &projection.Options{Poison: projection.Park})
		}
		worker, operator := on("worker"), on("operator")
		start(t, worker)
		deposit(t, store, "bad", 1, 13)
		deposit(t, store, "good", 1)
		reachParked(t, worker, deposit(t, store, "bad", 2))
		if err := operator.Retry(t.Context(), account("bad")); !errors.Is(err, projection.ErrParked) {
			t.Errorf("a retry in vain: %v", err)
		}
		mended.Store(true)
		if err := operator.Retry(t.Context(), account("bad")); err != nil {
			t.Fatal(err)
		}
		reach(t, worker, deposit(t, store, "bad", 4).Position)
		if parked, err := worker.Parked(t.Context()); err != nil || len(parked) != 0 {
			t.Errorf("still parked: %v, %v", parked, err)
		}
		out.want(store)
	}
}
