package projection_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

// A large log is rebuilt while commands keep arriving and readers look. The rebuild is
// broken off three times, and goes on each time; nobody ever sees less than before.
func Test68RebuildBesideLive(t *testing.T) {
	t.Parallel()
	events := map[string]int{"file": 20_000, "memory": 20_000, "postgres": 3_000}
	if soaking {
		events = map[string]int{"file": 1_000_000, "memory": 1_000_000, "postgres": 100_000}
	}
	for kind := range ledgerKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rng, at := seeded(t), place(t, kind)
			server := listen(t)
			store := testutil.Open(t, server, nil)
			fill(t, store, events[kind], 1000, rng.Uint64())
			l, err := ledgerKinds[kind](store, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := start(t, l)
			reach(t, l, end(t, store))
			stop := beside(t, store, l, rng.Uint64())
			if kind == "postgres" {
				killedRebuilds(t, l, rng, at, server.URL())
			} else {
				brokenRebuilds(t, l, end(t, store))
			}
			stop()
			reach(t, l, end(t, store))
			if err := r.end(); err != nil {
				t.Error(err)
			}
			exact(t, store, l)
			if err := l.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// brokenRebuilds breaks a rebuild off at three places, and then lets it end.
func brokenRebuilds(t *testing.T, l *ledger, length uint64) {
	t.Helper()
	var read uint64
	for part := uint64(1); part <= 3; part++ {
		ctx, cancel := context.WithCancel(t.Context())
		done, err := l.rebuild(ctx, &projection.RebuildOptions{Progress: func(p projection.Progress) {
			if p.Position > length*part/4 {
				cancel()
			}
		}})
		cancel()
		if read += done.Commits; err == nil {
			break // it was faster
		}
		if !errors.Is(err, context.Canceled) || done.Generation != 2 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	done, err := l.rebuild(t.Context(), nil)
	if read += done.Commits; err != nil || done.Position < length || read > 2*done.Position+length {
		t.Errorf("%+v, %v; in all %d commits were read of %d", done, err, read, length)
	}
	t.Logf("%d commits were read for a log of %d", read, length)
}

// killedRebuilds kills three processes that rebuild, and then rebuilds.
func killedRebuilds(t *testing.T, l *ledger, rng *rand.Rand, at, url string) {
	t.Helper()
	most := 300 * time.Millisecond
	if soaking {
		most = 10 * time.Second
	}
	for range 3 {
		killedAfter(t, rng, most, "rebuild", "postgres", at, url)
	}
	if done, err := l.rebuild(t.Context(), nil); err != nil {
		t.Errorf("%+v, %v", done, err)
	}
}

// beside lets commands arrive, and readers look, until stop is called.
func beside(t *testing.T, store *eventstore.Store, l *ledger, seed uint64) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for ctx.Err() == nil {
			// As fast as the live read model can follow: behind one that never can, no
			// rebuild comes to an end.
			at := deposit(t, store, rng.IntN(1000), rng.IntN(100), 1)
			if err := l.Wait(ctx, at); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	working.Go(func() {
		for seen := 0; ctx.Err() == nil; {
			all, err := l.read(ctx)
			if err != nil {
				if ctx.Err() == nil && !transientInDatabase(err) {
					t.Error(err)
				}
				continue
			}
			total := 0
			for _, e := range all {
				total += e.Events
			}
			if total < seen {
				t.Errorf("a reader saw %d events, and %d before", total, seen)
			}
			seen = total
		}
	})
	return func() { cancel(); working.Wait() }
}

// transientInDatabase reports whether a read of several views met their replacement.
func transientInDatabase(err error) bool {
	var code interface{ SQLState() string }
	return errors.As(err, &code) && code.SQLState() == "40P01" // deadlock
}
