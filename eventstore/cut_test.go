package eventstore_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var cutItems = []item{
	{"35 appends over connections cut at random moments", appendOverCuts},
	{"35 reads over connections cut at random moments", readOverCuts},
}

// cut is one of the appends of appendOverCuts.
type cut struct {
	id   eventstore.StreamID
	data []eventstore.EventData
	at   eventstore.Revision
}

// appendOverCuts appends from several writers over connections that are cut all
// the time: before, within and after messages and their answers.
func appendOverCuts(t *testing.T, s site) {
	const writers, each = 4, 50
	direct := s.log(t, "cut-at-random", nil)
	random := eventstore.Seeded(t)
	all := s.proxies(t, random)
	nc := through(t, all)
	store := s.open(t, nc, direct.Name(), &eventstore.Options{AckWait: 150 * time.Millisecond})
	for _, p := range all {
		p.cutAppends(direct.Name())
	}

	made := make([][]cut, writers)
	var wg sync.WaitGroup
	for w := range made {
		random := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		wg.Go(func() {
			writer := cutWriter{T: t, store: store, name: fmt.Sprint(t.Name(), " ", w), random: random}
			for range each {
				made[w] = append(made[w], writer.append())
			}
		})
	}
	wg.Wait()
	var cuts [3]int
	for _, p := range all {
		p.stopCutting()
		for at, n := range p.cuts {
			cuts[at] += n
		}
	}
	t.Logf("connections cut: %d in an append, %d in its answer, %d anywhere", cuts[inAppend], cuts[inAnswer], cuts[anywhere])
	if cuts[inAppend] < 10 || cuts[inAnswer] < 30 || cuts[anywhere] < 10 {
		t.Error("these are too few")
	}
	wantOnce(t, direct, made)
}

type cutWriter struct {
	*testing.T
	store   *eventstore.Store
	name    string
	random  *rand.Rand
	n       int
	guarded eventstore.Revision // end of the writer's own stream
}

// append appends to the writer's own stream, to one that all share, or to a
// new one.
func (w *cutWriter) append() cut {
	w.n++
	own := eventstore.StreamID{Kind: "order", ID: w.name}
	fresh := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(w.name, " ", w.n)}
	both := eventstore.StreamID{Kind: "shared", ID: "all"}
	c := cut{id: own}
	for range 1 + w.random.IntN(3) {
		c.data = append(c.data, events(fmt.Sprint(w.name, " ", w.n, " ", len(c.data)))...)
	}
	var opts *eventstore.AppendOptions
	if w.random.IntN(2) == 0 {
		opts = named(fmt.Sprint(w.name, " ", w.n))
	}
	var expected eventstore.Expectation
	switch w.random.IntN(5) {
	case 0:
		expected = w.guarded
	case 1:
		expected = eventstore.Version(w.guarded.Version)
	case 2:
		c.id, expected = fresh, eventstore.NoStream
	case 3:
		c.id, expected = both, eventstore.Any
	case 4:
		expected = eventstore.Any
	}
	at, err := w.store.Append(w.Context(), c.id, expected, c.data, opts)
	if err != nil || at.Replayed {
		w.Errorf("append %d to %s, expecting %v: %+v, %v", w.n, c.id, expected, at, err)
	}
	if c.id == own {
		w.guarded = at
	}
	c.at = at
	return c
}

// wantOnce checks that each append is in the log once, where it was said to
// be, and nothing else is.
func wantOnce(t *testing.T, store *eventstore.Store, made [][]cut) {
	t.Helper()
	want, appends := 0, 0
	for _, cuts := range made {
		for _, c := range cuts {
			appends++
			want += len(c.data)
			first := c.at.Version - uint64(len(c.data)) + 1
			got := read(t, store, c.id, &eventstore.ReadOptions{From: first, To: c.at.Version})
			wantEvents(t, got, c.data)
			if len(got) == 0 || !same(got[0].Revision(), c.at) || got[0].Version != first {
				t.Errorf("the append that was said to be at %+v is not there", c.at)
			}
		}
	}
	report, err := store.Verify(t.Context(), nil)
	if err != nil || report.Events != uint64(want) || report.Commits != uint64(appends) || len(report.Damage) > 0 {
		t.Errorf("%d appends of %d events left %+v, %v", appends, want, report, err)
	}
}

// readOverCuts reads in every way over connections that are cut all the time.
// What is lost on the way is asked for again; it is not taken for a gap in the
// log, nor for its end.
func readOverCuts(t *testing.T, s site) {
	direct := s.log(t, "read-over-cuts", nil)
	scatter(t, direct, 300)
	id := stream(t)
	var at eventstore.Revision
	for i := range 500 {
		at = add(t, direct, id, at, events(fmt.Sprint(i), strings.Repeat("x", 300)), nil)
	}
	all := logged(t, direct, 0)
	ctx := t.Context()

	var readers sync.WaitGroup
	over := func(name string, bytes int, want []eventstore.Event, read func(*eventstore.Store) iter.Seq2[eventstore.Event, error]) {
		c := s.cutting(t, direct.Name(), bytes)
		readers.Go(func() {
			for c.cuts() < 3 {
				got, err := collect(read(c.store))
				if err != nil {
					t.Errorf("%s: after %d events: %v", name, len(got), err)
					return
				}
				wantLogged(t, got, want)
			}
		})
	}
	over("Read", 100_000, history(t, direct, id), func(store *eventstore.Store) iter.Seq2[eventstore.Event, error] {
		return store.Read(ctx, id, nil)
	})
	over("Log", 100_000, all, func(store *eventstore.Store) iter.Seq2[eventstore.Event, error] {
		return store.Log(ctx, 0, nil)
	})
	over("Follow", 100_000, all, func(store *eventstore.Store) iter.Seq2[eventstore.Event, error] {
		return first(len(all), store.Follow(ctx, 0, nil))
	})
	over("Verify", 100_000, nil, func(store *eventstore.Store) iter.Seq2[eventstore.Event, error] {
		return verified(ctx, t, store, len(all))
	})
	readers.Wait()
}

// first returns a sequence up to its n-th event.
func first(n int, events iter.Seq2[eventstore.Event, error]) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		seen := 0
		for e, err := range events {
			if seen++; !yield(e, err) || seen == n {
				return
			}
		}
	}
}

// verified verifies a log, which must be undamaged. It yields no events.
func verified(ctx context.Context, t *testing.T, store *eventstore.Store, events int) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		report, err := store.Verify(ctx, nil)
		if err != nil {
			yield(eventstore.Event{}, err)
		} else if report.Events != uint64(events) || len(report.Damage) > 0 {
			t.Errorf("an undamaged log of %d events: %+v", events, report)
		}
	}
}

// A cutting is a client whose connections are cut.
type cutting struct {
	store   *eventstore.Store
	proxies []*proxy
}

// cutting returns a client whose connections are cut after so many bytes from
// the server on average.
func (s site) cutting(t *testing.T, log string, bytes int) cutting {
	t.Helper()
	c := cutting{proxies: s.proxies(t, eventstore.Seeded(t))}
	c.store = s.open(t, through(t, c.proxies), log, &eventstore.Options{AckWait: 150 * time.Millisecond})
	for _, p := range c.proxies {
		p.cutEvery(bytes)
	}
	return c
}

func (c cutting) cuts() (n int) {
	for _, p := range c.proxies {
		p.mu.Lock()
		n += p.cuts[anywhere]
		p.mu.Unlock()
	}
	return n
}
