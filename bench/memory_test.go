package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
)

// BenchmarkMemory tells what many streams cost. It is the heap in use after a
// collection, less what it was before: in this process for each order whose state
// a repository has in memory ("heap-B/state"), and in the server, which is another
// process, for each stream: after they were appended ("filled-B/stream"), after
// they were loaded too ("loaded-B/stream"), and after the server has started again
// ("restarted-B/stream"). All have one commit; "commits=100" tells what a state
// with more takes, and "window=2m" what a server takes that remembers the ids of
// commits for as long as it does by default, and not for a second.
//
// "append" is how long commands take on random orders among so many, all in
// memory, and the ratio of the median to that among the fewest. The servers take
// turns, and run all the time.
func BenchmarkMemory(b *testing.B) {
	sizes := []int{10_000, 100_000, 1_000_000}
	deep := 5_000
	if testing.Short() {
		sizes, deep = []int{500, 1_000, 2_000}, 100
	}
	var all []*population
	for _, n := range sizes {
		p := newPopulation(b, n, 1, time.Second)
		b.Run(fmt.Sprintf("streams=%d", n), p.report)
		all = append(all, p)
	}
	b.Run("append", func(b *testing.B) { compareAppends(b, all) })
	for _, p := range all {
		p.restart(b)
		b.Run(fmt.Sprintf("restarted/streams=%d", p.streams), p.report)
	}
	remembering := newPopulation(b, sizes[1], 1, 0)
	b.Run(fmt.Sprintf("window=2m/streams=%d", sizes[1]), remembering.report)
	later := newPopulation(b, deep, 100, time.Second)
	b.Run(fmt.Sprintf("commits=100/streams=%d", deep), later.report)
}

// A population is a log of so many orders, and a repository that has all their
// states in memory.
type population struct {
	streams int
	server  *remote
	dir     string
	empty   float64 // memory of the server with an empty log
	orders  *repository
	metrics map[string]float64
}

func newPopulation(b *testing.B, streams, commits int, window time.Duration) *population {
	b.Helper()
	p := &population{streams: streams, dir: b.TempDir(), metrics: make(map[string]float64)}
	p.server = startRemote(b, p.dir)
	store, err := eventstore.Open(b.Context(), p.server.connect(b), largeName, &eventstore.Options{DuplicateWindow: window})
	if err != nil {
		b.Fatal(err)
	}
	p.empty = p.server.usedBytes(b)
	start := time.Now()
	p.append(b, store, commits)
	p.metrics["appended-s"] = time.Since(start).Seconds()
	p.metrics["filled-B/stream"] = p.perStream(p.server.usedBytes(b) - p.empty)
	p.orders = repositoryOf(store, &aggregate.Options{Cache: streams})
	before := float64(usedBytes())
	p.load(b)
	p.metrics["heap-B/state"] = p.perStream(float64(usedBytes()) - before)
	p.metrics["loaded-B/stream"] = p.perStream(p.server.usedBytes(b) - p.empty)
	if s := p.orders.Stats(); s.FromLog != uint64(streams) {
		b.Fatalf("%+v", s)
	}
	return p
}

func (p *population) perStream(bytes float64) float64 { return bytes / float64(p.streams) }

func (p *population) append(b *testing.B, store *eventstore.Store, commits int) {
	commit := []eventstore.EventData{{Type: small.EventType(), ContentType: "application/json", Data: []byte(`{"order":"7f3c","quantity":3,"price":1999}`)}}
	p.each(b, func(id string) error {
		var at eventstore.Revision
		for range commits {
			var err error
			if at, err = store.Append(b.Context(), eventstore.StreamID{Kind: orderKind, ID: id}, at, commit, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *population) load(b *testing.B) {
	p.each(b, func(id string) error {
		_, _, err := p.orders.Load(b.Context(), id)
		return err
	})
}

// each does something with all orders, 64 at a time.
func (p *population) each(b *testing.B, do func(id string) error) {
	b.Helper()
	var next atomic.Int64
	concurrently(b, 64, p.streams, func(int) error { return do(strconv.FormatInt(next.Add(1), 10)) })
}

// restart starts the server again, and forgets the repository.
func (p *population) restart(b *testing.B) {
	b.Helper()
	p.orders = nil
	p.server.stop(b)
	start := time.Now()
	p.server = startRemote(b, p.dir)
	p.metrics = map[string]float64{"start-s": time.Since(start).Seconds()}
	p.metrics["restarted-B/stream"] = p.perStream(p.server.usedBytes(b) - p.empty)
}

func (p *population) report(b *testing.B) {
	for b.Loop() {
		continue // it was measured when it was made
	}
	b.ReportMetric(0, "ns/op")
	for name, value := range p.metrics {
		b.ReportMetric(value, name)
	}
}

// commands executes so many commands on random orders, and returns what they
// took, in microseconds.
func (p *population) commands(b *testing.B, n int) (took []float64) {
	for range n {
		id := strconv.Itoa(1 + rand.IntN(p.streams))
		start := time.Now()
		if _, _, err := p.orders.Execute(b.Context(), id, place{small}, nil); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/1000)
	}
	return took
}

func compareAppends(b *testing.B, all []*population) {
	const turn = 200
	took := make(map[*population][]float64)
	ratios := make(map[string][]float64)
	name := func(p *population) string { return fmt.Sprintf("append-%d", p.streams) }
	for b.Loop() {
		order := slices.Clone(all)
		for range 2 {
			for _, p := range order {
				took[p] = append(took[p], p.commands(b, turn)...)
			}
			slices.Reverse(order)
		}
		median := func(p *population) float64 { return quantile(took[p][len(took[p])-2*turn:], 0.5) }
		for _, p := range all[1:] {
			ratio := name(p) + "/" + name(all[0])
			ratios[ratio] = append(ratios[ratio], median(p)/median(all[0]))
		}
	}
	b.ReportMetric(0, "ns/op")
	for p, t := range took {
		b.ReportMetric(quantile(t, 0.5), name(p)+"-p50-µs")
		b.ReportMetric(quantile(t, 0.99), name(p)+"-p99-µs")
	}
	reportRatios(b, ratios)
}
