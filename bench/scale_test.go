package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// largeLog is a log of as many events as a service may have after some years:
// one a commit, of streams whose commits lie anywhere.
type largeLog struct {
	dir             string
	events, streams int
}

const largeName = "large"

func (l *largeLog) stream(i int) eventstore.StreamID {
	return eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}
}

// long is a stream that has as many commits, at the log's end, as there are
// others.
func (l *largeLog) long() eventstore.StreamID { return eventstore.StreamID{Kind: "long", ID: "1"} }

// newLargeLog makes a log whose streams have so many events on average, and if
// wanted the long one.
func newLargeLog(tb testing.TB, each int, long bool) *largeLog {
	tb.Helper()
	l := &largeLog{dir: tb.TempDir(), events: 1_000_000}
	if testing.Short() {
		l.events = 20_000
	}
	l.streams = l.events / each
	start := time.Now()
	p := startRemote(tb, l.dir)
	store := openLarge(tb, p)
	const writers = 64
	type writer struct {
		*rand.Rand
		heads []eventstore.Revision
	}
	all := make([]writer, writers)
	for w := range all {
		all[w] = writer{rand.New(rand.NewPCG(uint64(each), uint64(w))), make([]eventstore.Revision, l.streams/writers)}
	}
	var done atomic.Int64
	concurrently(tb, writers, l.events, func(w int) error {
		// Each stream has one event at least.
		i := all[w].IntN(len(all[w].heads))
		if n := int(done.Add(1)) / writers; n < len(all[w].heads) {
			i = n
		}
		head, err := store.Append(tb.Context(), l.stream(w+writers*i), all[w].heads[i], events(1), nil)
		all[w].heads[i] = head
		return err
	})
	if long {
		s := series{stream: l.long()}
		for range l.streams {
			if err := s.append(tb, store); err != nil {
				tb.Fatal(err)
			}
		}
	}
	p.stop(tb)
	tb.Logf("a log of %d events in %d streams, appended in %v", l.events, l.streams, time.Since(start).Round(time.Millisecond))
	return l
}

func openLarge(tb testing.TB, p *remote) *eventstore.Store {
	tb.Helper()
	store, err := eventstore.Open(tb.Context(), p.connect(tb), largeName, &eventstore.Options{Reads: p.connect(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

// BenchmarkWalk walks over all of a large log, whose server is another process:
// lists its streams, loads one with a very long history, follows all events, and
// verifies it. "live-MB" is the most
// memory that this process still used when the garbage was collected, less
// what it used before.
func BenchmarkWalk(b *testing.B) {
	l := newLargeLog(b, 10, true)
	p := startRemote(b, l.dir)
	store := openLarge(b, p)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for _, walk := range []struct {
		name, unit string
		run        func(b *testing.B) (int, error)
	}{
		{"list", "streams", func(b *testing.B) (n int, err error) {
			for _, err := range store.Streams(b.Context(), "order", 0) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}},
		{"load", "events", func(b *testing.B) (n int, err error) {
			for _, err := range store.Read(b.Context(), l.long(), nil) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}},
		{"follow", "events", func(b *testing.B) (n int, err error) {
			for e, err := range store.Follow(b.Context(), 0, nil) {
				if err != nil {
					return n, err
				}
				if n++; e.Position == uint64(l.events+l.streams) {
					break
				}
			}
			return n, nil
		}},
		{"verify", "events", func(b *testing.B) (int, error) {
			report, err := store.Verify(b.Context(), nil)
			if err == nil && (report.Damaged > 0 || int(report.Commits) != l.events+l.streams) {
				err = fmt.Errorf("%+v", report)
			}
			return int(report.Events), err
		}},
	} {
		b.Run(walk.name, func(b *testing.B) {
			n := 0
			before := liveBytes()
			peak := watchMemory(b)
			for b.Loop() {
				var err error
				if n, err = walk.run(b); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak()-min(before, peak()))/1e6, "live-MB")
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), walk.unit+"/s")
			b.ReportMetric(float64(n), walk.unit)
		})
	}
}

// liveBytes returns what the last collection left.
func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watchMemory returns a function that says how much memory was in use at most,
// until the benchmark ends.
func watchMemory(b *testing.B) func() uint64 {
	var peak atomic.Uint64
	look := func() uint64 {
		for {
			was, is := peak.Load(), liveBytes()
			if is <= was || peak.CompareAndSwap(was, is) {
				return max(was, is)
			}
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				look()
			case <-end:
				return
			}
		}
	}()
	b.Cleanup(func() { tick.Stop(); close(end) })
	return look
}
