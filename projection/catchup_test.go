package projection_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

// The numbers in the names of tests are the items of the list of what a conforming
// store does.

// onServers runs a test on one node and on three.
func onServers(t *testing.T, test func(t *testing.T, store *eventstore.Store)) {
	t.Run("one node", func(t *testing.T) {
		t.Parallel()
		test(t, testutil.Store(t))
	})
	t.Run("three nodes", func(t *testing.T) {
		t.Parallel()
		test(t, testutil.Open(t, testutil.Cluster(t), &eventstore.Options{Replicas: 3}))
	})
}

func Test57CatchUpFrom(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		var second eventstore.Revision
		for i := range 10 {
			at := deposit(t, store, i, 1)
			if i == 4 {
				second = at
			}
		}
		all := newProjection(t, "all", store, file, balances(), nil)
		later := newProjection(t, "later", store, file, balances(), &projection.Options{After: second.Position})
		news := newProjection(t, "news", store, file, balances(), &projection.Options{After: projection.Now})
		for _, p := range []runner{all, later, news} {
			start(t, p)
		}
		eventually(t, "all are live", func() bool {
			return all.Status().State == projection.Live && later.Status().State == projection.Live && news.Status().State == projection.Live
		})
		last := deposit(t, store, "new", 7)
		for _, p := range []runner{all, later, news} {
			reach(t, p, last.Position)
		}
		for name, want := range map[string]int{"all": 11, "later": 6, "news": 1} {
			if got := read(t, file, name); len(got) != want || got["new"] != 7 {
				t.Errorf("%s holds %d accounts: %v", name, len(got), got)
			}
		}
	})
}

func Test58CatchUpThenLive(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		const writers, each = 4, 100
		file := openFile(t)
		p := newProjection(t, "balances", store, file, balances(), &projection.Options{Batch: 7})
		for i := range 50 {
			deposit(t, store, i%5, i)
		}
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := range each {
					deposit(t, store, w, i, 1)
				}
			})
		}
		start(t, p)
		writing.Wait()
		reach(t, p, end(t, store))
		if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
			t.Errorf("read model %v, log %v", got, want)
		}
		eventually(t, "it is live", func() bool {
			s := p.Status()
			return s.State == projection.Live && s.Lag() == 0 && s.Behind == 0
		})
	})
}

// Commits of other kinds, and events without handlers, move the checkpoint.
func Test59Filter(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		var last eventstore.Revision
		for i := range 20 {
			deposit(t, store, "a", 1)
			appended(t, store, account("a"), encoded(t, noted{"not handled"}))
			last = appended(t, store, eventstore.StreamID{Kind: "other", ID: fmt.Sprint(i)}, eventstore.EventData{Type: "whatever"})
		}
		p := newProjection(t, "balances", store, file, balances(), nil)
		r := start(t, p)
		reach(t, p, last.Position)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, file, "balances"); got["a"] != 20 || len(got) != 1 {
			t.Errorf("read model: %v", got)
		}
		if got := position(t, p); got != last.Position {
			t.Errorf("the checkpoint is %d after a stop, and the log ends at %d", got, last.Position)
		}
	})
}

// position returns that of the live generation, as it is stored.
func position[T any](t testing.TB, p *projection.Projection[T]) uint64 {
	t.Helper()
	all, err := p.Generations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.Live {
			return g.Position
		}
	}
	return 0
}

func Test60RestartResumes(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		var mu sync.Mutex
		seen := make(map[uint64]int) // by position
		handlers := projection.From("account", codec, projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			mu.Lock()
			seen[at.Position]++
			mu.Unlock()
			return addBalance(ctx, b, e, at)
		}))
		for range 3 {
			var last eventstore.Revision
			for range 10 {
				last = deposit(t, store, "a", 1)
			}
			p := newProjection(t, "balances", store, file, handlers, nil)
			r := start(t, p)
			reach(t, p, last.Position)
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, file, "balances")["a"]; got != 30 {
			t.Errorf("balance %d", got)
		}
		for at, n := range seen {
			if n != 1 {
				t.Errorf("position %d was handled %d times", at, n)
			}
		}
	})
}

// The checkpoint is stored with each transaction, after a second without one, and
// at the stop.
func Test61Checkpoints(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	start(t, p)
	at := deposit(t, store, "a", 1)
	reach(t, p, at.Position)
	if got := position(t, p); got != at.Position {
		t.Errorf("%d is stored after a transaction, not %d", got, at.Position)
	}
	at = appended(t, store, eventstore.StreamID{Kind: "other", ID: "x"}, eventstore.EventData{Type: "whatever"})
	eventually(t, "the checkpoint moves while nothing is handled", func() bool { return position(t, p) == at.Position })
}

func TestWaitForOwnWrite(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	start(t, p)
	for i := range 50 {
		at := deposit(t, store, "a", 1)
		if err := p.Wait(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if got := read(t, file, "balances")["a"]; got != i+1 {
			t.Fatalf("balance %d after %d deposits", got, i+1)
		}
	}
}

func Test70WaitFor(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	at := deposit(t, store, "a", 1)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var behind *projection.BehindError
	err := p.Wait(ctx, at)
	if !errors.As(err, &behind) || behind.Wanted != at.Position || behind.At != 0 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, projection.ErrBehind) {
		t.Errorf("a projection that never ran: %v", err)
	}
	r := start(t, p)
	reach(t, p, at.Position) // waits
	reach(t, p, at.Position) // is there
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	reach(t, p, at.Position) // is there, though nobody projects
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx, eventstore.Revision{Position: at.Position + 1}); !errors.Is(err, projection.ErrBehind) {
		t.Errorf("beyond the end: %v", err)
	}
}

func Test71StopDrains(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	p := newProjection(t, "slow", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			close(entered)
			<-leave
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return addBalance(ctx, b, e, at)
		})), nil)
	r := start(t, p)
	at := deposit(t, store, "a", 5)
	<-entered
	r.stop()
	close(leave)
	if err := r.ended(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file, "slow")["a"]; got != 5 || position(t, p) != at.Position {
		t.Errorf("the transaction in hand was not finished: %d", got)
	}
}

// A handler that does not end in time is told, and what it did does not count.
func Test71StopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	entered := make(chan struct{})
	p := newProjection(t, "slow", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			close(entered)
			<-ctx.Done()
			return errors.Join(addBalance(ctx, b, e, at), ctx.Err())
		})), &projection.Options{Drain: time.Millisecond})
	r := start(t, p)
	deposit(t, store, "a", 5)
	<-entered
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file, "slow"); len(got) != 0 || position(t, p) != 0 {
		t.Errorf("what was broken off counts: %v", got)
	}
}
