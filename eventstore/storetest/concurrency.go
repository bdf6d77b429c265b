package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var concurrencyItems = []item{
	{"16 one winner per version", oneWinner},
	{"17 appends at any version all succeed", anyAllSucceed},
	{"17 appends at any version that run out of time", anyOutOfTime},
	{"18 appends to different streams all succeed", differentStreams},
	{"19 a guarded append sees every unguarded one", guardedSeesUnguarded},
}

// rounds is how often a race is run.
const rounds = 500

// An attempt is an append and its answer.
type attempt struct {
	expected eventstore.Expectation
	events   []eventstore.EventData
	late     bool // begins after a round trip, as an append at any version does
	at       eventstore.Revision
	err      error
}

// race makes appends to one stream at the same time, through the stores in
// turn.
func race(ctx context.Context, stores []Store, id eventstore.StreamID, attempts []*attempt) {
	var wg sync.WaitGroup
	for i, a := range attempts {
		store := stores[i%len(stores)]
		wg.Go(func() {
			if a.late {
				if _, a.err = store.Head(ctx, id); a.err != nil {
					return
				}
			}
			a.at, a.err = store.Append(ctx, id, a.expected, a.events, nil)
		})
	}
	wg.Wait()
}

func oneWinner(t *testing.T, s suite) {
	id := s.stream()
	stores := []Store{s.client(t), s.client(t)}
	var at eventstore.Revision
	for round := range rounds {
		attempts := make([]*attempt, 6)
		for i := range attempts {
			attempts[i] = &attempt{expected: at, events: events(fmt.Sprintf("%d from %d", round, i))}
			if i%3 == 2 {
				attempts[i].expected = eventstore.Version(at.Version)
			}
		}
		race(t.Context(), stores, id, attempts)
		before := at
		for _, a := range attempts {
			if a.err == nil && at.Version == before.Version {
				at = a.at
			} else if a.err == nil {
				t.Fatalf("round %d has two winners: %+v and %+v", round, at, a.at)
			}
		}
		if at.Version != before.Version+1 || at.Replayed {
			t.Fatalf("round %d leads from %+v to %+v", round, before, at)
		}
		for _, a := range attempts {
			if a.err != nil {
				wantConflict(t, a.err, id, a.expected, at.Version)
			}
		}
	}
	all := history(t, stores[0], id)
	if len(all) != rounds {
		t.Fatalf("%d rounds left %d events", rounds, len(all))
	}
	for round, e := range all {
		if got := string(e.Data); got[:len(got)-len(" from 0")] != fmt.Sprint(round) {
			t.Errorf("round %d left the event %q", round, got)
		}
	}
}

func anyAllSucceed(t *testing.T, s suite) {
	const writers, each = 8, 25
	id := s.stream()
	stores := []Store{s.client(t), s.client(t)}
	add(t, s.shared, id, eventstore.NoStream, events("first"), nil)
	want := []string{"first"}
	var wg sync.WaitGroup
	for w := range writers {
		expected := []eventstore.Expectation{eventstore.Any, eventstore.Exists}[w%2]
		for i := range each {
			want = append(want, fmt.Sprintf("%d from %d", i, w))
		}
		wg.Go(func() {
			for i := range each {
				if _, err := stores[w%2].Append(t.Context(), id, expected, events(fmt.Sprintf("%d from %d", i, w)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := texts(history(t, s.shared, id))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the stream has %q", got)
	}
}

// An append that expects nothing has no conflict, whenever its time is over.
func anyOutOfTime(t *testing.T, s suite) {
	const writers, each = 8, 100
	id := s.stream()
	stores := []Store{s.client(t), s.client(t)}
	random := seeded(t)
	add(t, s.shared, id, eventstore.NoStream, events("first"), nil)
	var late atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		expected := []eventstore.Expectation{eventstore.Any, eventstore.Exists}[w%2]
		random := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		wg.Go(func() {
			for range each {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond+time.Duration(random.IntN(10_000))*time.Microsecond)
				_, err := stores[random.IntN(2)].Append(ctx, id, expected, events("x"), nil)
				cancel()
				switch {
				case err == nil:
				case errors.Is(err, eventstore.ErrConflict), !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("expecting %v: %v", expected, err)
				default:
					late.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d of %d appends ran out of time", late.Load(), writers*each)
}

func differentStreams(t *testing.T, s suite) {
	const streams, commits = 30, 10
	stores := []Store{s.client(t), s.client(t)}
	ids := make([]eventstore.StreamID, streams)
	var wg sync.WaitGroup
	for i := range ids {
		ids[i] = eventstore.StreamID{Kind: "order", ID: fmt.Sprint(s.item, " ", i)}
		wg.Go(func() {
			var at eventstore.Revision
			for n := range commits {
				next, err := stores[i%2].Append(t.Context(), ids[i], at, events(fmt.Sprint(n), fmt.Sprint(i)), nil)
				if err != nil {
					t.Error(err)
					return
				}
				at = next
			}
		})
	}
	wg.Wait()
	for i, id := range ids {
		var want []string
		for n := range commits {
			want = append(want, fmt.Sprint(n), fmt.Sprint(i))
		}
		wantTexts(t, s.shared, id, want...)
	}
}

// Against two writers that append at any version run writers that state what
// they have seen. One of these succeeds only where it was first.
func guardedSeesUnguarded(t *testing.T, s suite) {
	id := s.stream()
	stores := []Store{s.client(t), s.client(t)}
	random := seeded(t)
	at := add(t, s.shared, id, eventstore.NoStream, events("first"), nil)
	won := 0
	for round := range rounds {
		attempts := []*attempt{
			{expected: eventstore.Any, events: events("unguarded")},
			{expected: eventstore.Any, events: events("unguarded", "twice")},
			{expected: eventstore.Version(at.Version), events: events("guarded", "twice"), late: random.IntN(2) == 0},
			{expected: at, events: events("guarded"), late: random.IntN(4) > 0},
		}
		race(t.Context(), stores, id, attempts)
		next := at
		for _, a := range attempts {
			if a.at.Version > next.Version {
				next = a.at
			}
			if a.expected == eventstore.Any {
				if a.err != nil {
					t.Fatalf("round %d: an unguarded append: %v", round, a.err)
				}
				continue
			}
			switch {
			case a.err == nil && a.at.Version != at.Version+uint64(len(a.events)):
				t.Fatalf("round %d: an append that expected version %d is at %+v", round, at.Version, a.at)
			case a.err == nil:
				won++
			case !errors.Is(a.err, eventstore.ErrConflict):
				t.Fatalf("round %d: a guarded append: %v", round, a.err)
			}
		}
		at = next
	}
	t.Logf("%d of %d rounds had a guarded append first", won, rounds)
	if all := history(t, s.shared, id); uint64(len(all)) != at.Version {
		t.Errorf("the stream has %d events and was at version %d", len(all), at.Version)
	}
}
