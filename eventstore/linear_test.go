package eventstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/nats-io/nats.go"
)

// soaking says whether the long forms of tests are wanted.
var soaking = os.Getenv("HEADWATER_SOAK") != ""

// TestLinearizability lets writers append to streams, read them and ask for
// their ends, while nodes are killed and paused, leaders change, and
// connections are cut. Then it checks that each stream was, for all of them, a
// single thing: every operation happened at one moment between its call and its
// return. An exception are reads while a leader that was deposed may not know
// it; they may be of the past, and the test says how many streams had such.
func TestLinearizability(t *testing.T) {
	t.Parallel()
	for _, env := range []struct {
		name   string
		nodes  int
		faults []fault
	}{
		{"one node", 1, singleFaults},
		{"three nodes", 3, clusterFaults},
	} {
		t.Run(env.name, func(t *testing.T) {
			operations, rounds := 2000, 1
			if soaking {
				operations, rounds = 60_000, 10
			} else {
				t.Parallel()
			}
			linearizability(t, env.nodes, env.faults, operations, rounds)
		})
	}
}

// A linearRun is what the writers of one run share.
type linearRun struct {
	ctx   context.Context
	begin time.Time
	done  atomic.Int64 // operations
	over  atomic.Bool
	slots [48]slot
}

// A slot is where a stream is written to. After some operations it gets a new
// one, so that streams begin and stay short.
type slot struct{ picked atomic.Int64 }

// perStream is how many operations a stream sees.
const perStream = 250

// pick chooses a stream, some much more often than others.
func (r *linearRun) pick(random *rand.Rand) eventstore.StreamID {
	i := min(random.IntN(len(r.slots)), random.IntN(len(r.slots)))
	return r.stream(i, r.slots[i].picked.Add(1)/perStream)
}

func (r *linearRun) stream(slot int, number int64) eventstore.StreamID {
	return eventstore.StreamID{Kind: "account", ID: fmt.Sprint(slot, "-", number)}
}

// streams returns all that may have been written to.
func (r *linearRun) streams() (all []eventstore.StreamID) {
	for i := range r.slots {
		for number := range r.slots[i].picked.Load()/perStream + 1 {
			all = append(all, r.stream(i, number))
		}
	}
	return all
}

// clock returns the time since the run began.
func (r *linearRun) clock() int64 { return int64(time.Since(r.begin)) }

func linearizability(t *testing.T, count int, faults []fault, operations, rounds int) {
	const writers, log = 16, "linear"
	random := eventstore.Seeded(t)
	n := &nemesis{T: t, nodes: natsnode.Start(t, count), log: log, random: random, made: make(map[string]int)}
	s := site{replicas: count}
	for _, node := range n.nodes {
		s.urls = append(s.urls, node.URL())
	}
	n.proxies = s.proxies(t, random)
	calm := throughPatiently(t, n.proxies)
	var store *eventstore.Store
	var err error
	n.eventually("the log can be created", func() bool {
		store, err = eventstore.Open(t.Context(), calm, log, &eventstore.Options{Replicas: count})
		return err == nil
	})

	run := &linearRun{ctx: t.Context(), begin: time.Now()}
	var working sync.WaitGroup
	t.Cleanup(func() {
		run.over.Store(true)
		working.Wait()
	})
	var all []*writer
	client := func(nc *nats.Conn) *writer {
		w := &writer{
			T: t, run: run, number: len(all), random: rand.New(rand.NewPCG(random.Uint64(), random.Uint64())),
			store: s.open(t, nc, log, &eventstore.Options{AckWait: 500 * time.Millisecond}),
			held:  make(map[eventstore.StreamID]eventstore.Revision), seen: make(map[eventstore.StreamID]seen),
			tally: tally{nothing: make(map[string]int)},
		}
		all = append(all, w)
		return w
	}
	n.run, n.readers = run, make([][]*writer, count)
	for i := range n.readers {
		nc := throughPatiently(t, n.proxies[i:i+1])
		for range 8 {
			reader := client(nc)
			reader.patient = true
			n.readers[i] = append(n.readers[i], reader)
		}
	}
	for range writers {
		working.Go(client(throughPatiently(t, n.proxies)).work)
	}
	planned := plan(faults, rounds, random)
	for i, f := range planned {
		n.progress(run, operations*(i+1)/(len(planned)+1))
		f.make(n)
		n.made[f.kind]++
		n.settled()
	}
	n.progress(run, operations)
	run.over.Store(true)
	working.Wait()
	judge(t, run, store, all, n)
}

// throughPatiently is a connection through proxies that does not hurry to
// connect again.
func throughPatiently(t *testing.T, all []*proxy) *nats.Conn {
	return through(t, all, nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 0))
}

// progress waits until so many operations are done.
func (n *nemesis) progress(run *linearRun, operations int) {
	n.Helper()
	n.eventually(fmt.Sprint(operations, " operations are done"), func() bool {
		return run.done.Load() >= int64(operations) || n.Failed()
	})
	if n.Failed() {
		n.FailNow()
	}
}

// judge reads all streams for the last time and looks at what all were told.
func judge(t *testing.T, run *linearRun, store *eventstore.Store, all []*writer, n *nemesis) {
	took := time.Since(run.begin)
	var history []porcupine.Operation
	var sum tally
	sum.nothing = make(map[string]int)
	for _, w := range all {
		history = append(history, w.ops...)
		sum.add(w.tally)
	}
	operations := len(history)
	stored := make(map[eventstore.StreamID]map[uint64]eventstore.Revision)
	for _, id := range run.streams() {
		begin := run.clock()
		commits, end, err := readAfter(t.Context(), store, id, seen{})
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, porcupine.Operation{
			ClientId: len(all), Input: operation{stream: id.ID, action: doClose},
			Output: result{place: placeOf(end.at), chain: end.chain}, Call: begin, Return: run.clock(),
		})
		stored[id] = make(map[uint64]eventstore.Revision)
		for _, at := range commits {
			stored[id][at.Version] = at
		}
	}
	for _, w := range all {
		for _, a := range w.acked {
			if !same(stored[a.id][a.at.Version], a.at) {
				t.Errorf("client %d: stream %s has %+v where %+v was acknowledged", w.number, a.id, stored[a.id][a.at.Version], a.at)
			}
		}
	}
	report, err := store.Verify(t.Context(), nil)
	if err != nil {
		t.Errorf("verify: %v", err)
	}
	for _, damage := range report.Damage {
		t.Errorf("verify: %v", damage)
	}

	t.Logf("%d operations in %.1f s: %d appends acknowledged, %d conflicts, %d reads; %d appends of unknown outcome, of which %d resolved in %d attempts; without effect or answer: %v",
		operations, took.Seconds(), sum.acknowledged, sum.conflicts, sum.reads, sum.unknown, sum.resolved, sum.retried, sum.nothing)
	t.Logf("%d streams, %d commits, %d events; faults: %v", len(stored), report.Commits, report.Events, n.made)
	n.markPast(history)
	begin, stale := time.Now(), 0
	for _, stream := range byStream(history) {
		verdict, text := check(strict, stream, time.Minute)
		if verdict == porcupine.Illegal && len(n.doubts) > 0 {
			stale++
			verdict, text = check(loose, stream, time.Minute)
		}
		if verdict != porcupine.Ok {
			t.Errorf("the history of stream %s is %s:\n%s", stream[0].Input.(operation).stream, verdict, text)
		}
	}
	t.Logf("checked in %.2f s; %d streams were read as they had been, from a leader that was deposed", time.Since(begin).Seconds(), stale)
}

// markPast marks the operations that may have asked a deposed leader.
func (n *nemesis) markPast(history []porcupine.Operation) {
	for i, op := range history {
		for _, doubt := range n.doubts {
			if in := op.Input.(operation); op.Call <= doubt.end && op.Return >= doubt.begin && in.action != doClose {
				in.past = true
				history[i].Input = in
			}
		}
	}
}

func (t *tally) add(o tally) {
	t.acknowledged += o.acknowledged
	t.conflicts += o.conflicts
	t.reads += o.reads
	t.unknown += o.unknown
	t.retried += o.retried
	t.resolved += o.resolved
	for kind, n := range o.nothing {
		t.nothing[kind] += n
	}
}
