package projection_test

import (
	"bufio"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// A process that projects is killed at random moments, while commands keep arriving. In
// the end balances and counts are exact.
func Test65Killed(t *testing.T) {
	t.Parallel()
	events, kills := 4_000, 5
	if soaking {
		events, kills = 100_000, 200
	}
	for kind := range ledgerKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rng, at := seeded(t), place(t, kind)
			server := listen(t)
			store := testutil.Open(t, server, nil)
			kills, most, begun := kills, 300*time.Millisecond, 0
			if kind == "memory" { // which is saved once a second
				kills, most = kills/2, 2500*time.Millisecond
			}
			for range kills {
				var filling sync.WaitGroup
				seed := rng.Uint64()
				filling.Go(func() { fill(t, store, events/kills, 50, seed) })
				if killedAfter(t, rng, most, "project", kind, at, server.URL()) {
					begun++
				}
				filling.Wait()
			}
			if begun == 0 {
				t.Error("no process has begun to work")
			}
			l, err := ledgerKinds[kind](store, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.close(); err != nil {
					t.Error(err)
				}
			}()
			before, err := l.position(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			exact(t, store, l)
			t.Logf("%d of %d processes had begun; the last one came to position %d of %d", begun, kills, before, end(t, store))
		})
	}
}

// listen starts a server that other processes can reach.
func listen(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// killedAfter starts a process, kills it at a random moment, and reports whether it had
// begun to work.
func killedAfter(t *testing.T, rng *rand.Rand, most time.Duration, what, kind, at, url string) (begun bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{what, kind, at, url}, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan bool, 1)
	go func() { lines <- bufio.NewScanner(out).Scan() }()
	// Now and then it dies before it has begun.
	if rng.IntN(10) > 0 {
		begun = <-lines
	}
	moment := time.NewTimer(time.Duration(rng.Int64N(int64(most))))
	defer moment.Stop()
	<-moment.C // the moment is what is random
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	return begun
}

// exact brings a ledger to the log's end, and compares it with the log.
func exact(t *testing.T, store *eventstore.Store, l *ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := l.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := l.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := foldLedger(t, store)
	for id := range maps.Keys(want) {
		if got[id] != want[id] {
			t.Errorf("account %s: %+v, and the log says %+v", id, got[id], want[id])
		}
	}
	position, err := l.position(ctx)
	if err != nil || position != end(t, store) || len(got) != len(want) {
		t.Errorf("position %d, %v, of %d; %d accounts of %d", position, err, end(t, store), len(got), len(want))
	}
}
