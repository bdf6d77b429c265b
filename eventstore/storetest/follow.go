package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var followItems = []item{
	{"53 a context that ends ends the reading and the waiting", endReading},
	{"57 following from the start, from a position, from now on", followFrom},
	{"58 following is reading on without gap or repetition", followLive},
}

// follow follows a log until it has n events, and calls each after each of them.
// Where no more come it does not wait for ever.
func follow(t *testing.T, log Store, after uint64, opts *eventstore.LogOptions, n int, each func(read int)) (got []eventstore.Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	idle := time.AfterFunc(patience, cancel)
	defer idle.Stop()
	for e, err := range log.Follow(ctx, after, opts) {
		if err != nil {
			t.Fatalf("following after position %d ended after %d of %d events: %v", after, len(got), n, err)
		}
		idle.Reset(patience)
		if got = append(got, e); each != nil {
			each(len(got))
		}
		if len(got) == n {
			return got
		}
	}
	t.Fatalf("following after position %d ended after %d of %d events, without an error", after, len(got), n)
	return got
}

// endReading leaves iterations at several places, after which they must not go
// on, and ends the context of others.
func endReading(t *testing.T, s suite) {
	log := s.log(t, "end-reading")
	all := scatter(t, log, 300)
	for _, read := range []func(context.Context, uint64, *eventstore.LogOptions) iter.Seq2[eventstore.Event, error]{log.Log, log.Follow} {
		for _, limit := range []int{1, 2, 250} { // within a commit, and after many
			n := 0
			for _, err := range read(t.Context(), 0, nil) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == limit {
					break
				}
			}
		}
		for _, limit := range []int{0, 1, 250} {
			ctx, cancel := context.WithCancel(t.Context())
			if limit == 0 {
				cancel()
			}
			n := 0
			var last error
			for _, err := range read(ctx, 0, nil) {
				if last = err; err != nil {
					continue
				}
				if n++; n == limit {
					cancel()
				}
			}
			cancel()
			if n < len(all) && !errors.Is(last, context.Canceled) || last != nil && !errors.Is(last, context.Canceled) {
				t.Errorf("a context that is cancelled after %d of %d events ends the reading after %d with %v", limit, len(all), n, last)
			}
		}
	}
	for h, err := range log.Streams(t.Context(), "", 0) {
		if err != nil || h.Revision.Version == 0 {
			t.Errorf("the first stream is %+v, %v", h, err)
		}
		break
	}
	// Of those that follow one has read all, and one has nothing to read.
	for _, after := range []uint64{0, all[len(all)-1].Position} {
		ctx, cancel := context.WithCancel(t.Context())
		if after > 0 {
			go cancel()
		}
		n := 0
		var last error
		for _, err := range log.Follow(ctx, after, nil) {
			if last = err; err != nil {
				continue
			}
			if n++; n == len(all) {
				go cancel()
			}
		}
		cancel()
		if !errors.Is(last, context.Canceled) {
			t.Errorf("following ended after %d events with %v", n, last)
		}
	}
}

func followFrom(t *testing.T, s suite) {
	const before, later = 20, 10
	log := s.log(t, "follow-from")
	other := s.log(t, "follow-from")
	first := scatter(t, log, before)[before/2].Position
	var writing sync.WaitGroup
	defer writing.Wait()
	for _, start := range []string{"start", "position", "now"} {
		now, err := log.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after := map[string]uint64{"start": 0, "position": first, "now": now}[start]
		old := len(logged(t, log, after))
		write := func(read int) {
			if read != old {
				return
			}
			writing.Go(func() { // while it waits
				for i := range later {
					if _, err := other.Append(t.Context(), eventstore.StreamID{Kind: "later", ID: start}, eventstore.Any, events(fmt.Sprint(i), start), nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		write(0)
		got := follow(t, log, after, nil, old+2*later, write)
		writing.Wait()
		wantLogged(t, got, logged(t, log, after))
	}
}

func followLive(t *testing.T, s suite) {
	const before, writers, each = 300, 3, 100
	log := s.log(t, "follow-live")
	stores := []Store{s.log(t, "follow-live"), log}
	old := len(scatter(t, log, before))
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				id := eventstore.StreamID{Kind: "live", ID: fmt.Sprint(i % 7)}
				if _, err := stores[w%2].Append(t.Context(), id, eventstore.Any, events("a", "b"), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer writing.Wait()
	got := follow(t, log, 0, nil, old+writers*each*2, nil)
	writing.Wait()
	wantLogged(t, got, logged(t, log, 0))
	versions := make(map[eventstore.StreamID]uint64)
	for _, e := range got {
		if versions[e.Stream]++; e.Version != versions[e.Stream] {
			t.Errorf("event %d of %s is version %d", versions[e.Stream], e.Stream, e.Version)
		}
	}
}
