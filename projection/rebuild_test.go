package projection_test

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

func Test68Rebuild(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		var replayed, fresh atomic.Int64
		p := newProjection(t, "balances", store, file, projection.From("account", codec,
			projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
				if at.Replaying {
					replayed.Add(1)
				} else {
					fresh.Add(1)
				}
				return addBalance(ctx, b, e, at)
			})), &projection.Options{Batch: 10})
		start(t, p)
		for i := range 100 {
			deposit(t, store, i%7, i)
		}
		reach(t, p, end(t, store))
		var steps []projection.Progress
		done, err := p.Rebuild(t.Context(), &projection.RebuildOptions{Progress: func(now projection.Progress) { steps = append(steps, now) }})
		if err != nil {
			t.Fatal(err)
		}
		if done.Generation != 2 || done.Position != 100 || done.Commits != 100 || done.Events != 100 || replayed.Load() != 100 || fresh.Load() != 100 {
			t.Errorf("%+v, %d replayed, %d not", done, replayed.Load(), fresh.Load())
		}
		if n := len(steps); n == 0 || steps[n-1].Percent() != 100 || steps[n-1].Target != 100 {
			t.Errorf("progress: %+v", steps)
		}
		last := deposit(t, store, "new", 1)
		reach(t, p, last.Position)
		if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
			t.Errorf("read model %v, log %v", got, want)
		}
		all, err := p.Generations(t.Context())
		if err != nil || len(all) != 1 || !all[0].Live || all[0].Number != 2 {
			t.Errorf("generations: %+v, %v", all, err)
		}
		if fresh.Load() != 101 {
			t.Errorf("%d events were handled that are not replayed", fresh.Load())
		}
	})
}

func Test68RebuildOfNothing(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		p := newProjection(t, "balances", store, file, balances(), nil)
		if done, err := p.Rebuild(t.Context(), nil); err != nil || done.Position != 0 {
			t.Fatalf("an empty log: %+v, %v", done, err)
		}
		if got := read(t, file, "balances"); len(got) != 0 {
			t.Errorf("read model: %v", got)
		}
	})
}

// A projection that never ran is built.
func TestRebuildBuilds(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	for i := range 10 {
		deposit(t, store, i, 1)
	}
	p := newProjection(t, "balances", store, file, balances(), nil)
	if done, err := p.Rebuild(t.Context(), nil); err != nil || done.Position != 10 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("read model %v, log %v", got, want)
	}
}

func Test68RebuildResumes(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	for i := range 100 {
		deposit(t, store, i%7, i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls atomic.Int64
	p := newProjection(t, "balances", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if calls.Add(1) == 150 {
				cancel()
			}
			return addBalance(ctx, b, e, at)
		})), &projection.Options{Batch: 10})
	r := start(t, p)
	reach(t, p, 100)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	first, err := p.Rebuild(ctx, nil)
	if !errors.Is(err, context.Canceled) || first.Position < 50 || first.Position == 100 {
		t.Fatalf("broken off: %+v, %v", first, err)
	}
	if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("readers see %v, and the log is %v", got, want)
	}
	second, err := p.Rebuild(t.Context(), nil)
	if err != nil || second.Generation != first.Generation || second.Commits != 100-first.Position {
		t.Errorf("gone on: %+v after %+v, %v", second, first, err)
	}
	if got, want := read(t, file, "balances"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("read model %v, log %v", got, want)
	}
	if got := calls.Load(); got != 200 {
		t.Errorf("%d events were handled, not twice 100", got)
	}
}

func TestRebuildTo(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	for range 10 {
		deposit(t, store, "a", 1)
	}
	p := newProjection(t, "balances", store, file, balances(), nil)
	start(t, p)
	reach(t, p, 10)
	done, err := p.Rebuild(t.Context(), &projection.RebuildOptions{To: 4})
	if err != nil || done.Position != 4 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := read(t, file, "balances")["a"]; got != 10 {
		t.Errorf("readers see %d", got)
	}
	err = file.ViewGeneration("balances", done.Generation, func(b *bbolt.Bucket) error {
		if got := b.Get([]byte("a")); got[len(got)-1] != 4 {
			t.Errorf("as of position 4 it holds %v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	var invalid *eventstore.InvalidError
	if _, err := p.Rebuild(t.Context(), &projection.RebuildOptions{To: 11}); !errors.As(err, &invalid) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := p.Remove(t.Context(), done.Generation); err != nil {
		t.Error(err)
	}
	if err := p.Remove(t.Context(), done.Generation); !errors.Is(err, projection.ErrNoGeneration) {
		t.Errorf("removed twice: %v", err)
	}
	if err := p.Remove(t.Context(), 1); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("the live one: %v", err)
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	deposit(t, store, "good", 1)
	deposit(t, store, "bad", 13)
	var mended atomic.Bool
	mended.Store(true)
	p := newProjection(t, "picky", store, file, picky(&mended), &projection.Options{Attempts: 2})
	r := start(t, p)
	reach(t, p, 2)
	_ = r.end()
	mended.Store(false)
	done, err := p.Rebuild(t.Context(), &projection.RebuildOptions{DryRun: true})
	if err != nil || len(done.Parked) != 1 || done.Parked[0].Stream != account("bad") || done.Position != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	all, err := p.Generations(t.Context())
	if err != nil || len(all) != 1 || all[0].Number != 1 {
		t.Errorf("generations: %+v, %v", all, err)
	}
}

// A new version is built beside the old one, and shown when it is there; the old one
// can be shown again.
func Test69BlueGreen(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var effects atomic.Int64
	handlers := func(factor int) projection.Handlers[*bbolt.Bucket] {
		return projection.From("account", codec, projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if !at.Replaying {
				effects.Add(1)
			}
			return add(b, at.Stream.ID, factor*e.Amount)
		}))
	}
	old := newProjection(t, "balances", store, file, handlers(1), &projection.Options{Version: 1})
	r := start(t, old)
	for range 10 {
		deposit(t, store, "a", 1)
	}
	reach(t, old, 10)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	next := newProjection(t, "balances", store, file, handlers(100), &projection.Options{Version: 2})
	r = start(t, next)
	last := deposit(t, store, "a", 1)
	eventually(t, "the new version is shown", func() bool { return read(t, file, "balances")["a"] == 1100 })
	reach(t, next, last.Position)
	if got := effects.Load(); got != 11 {
		t.Errorf("%d effects of 11 events", got)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	// The old program does not fight against the new one.
	r = start(t, old)
	eventually(t, "the old version stands by", func() bool { s := old.Status(); return s.State == projection.Standby && s.Err != nil })
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file, "balances")["a"]; got != 1100 {
		t.Errorf("the old version changed the read model: %d", got)
	}
}

func Test69Rollback(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	start(t, p)
	deposit(t, store, "a", 1)
	reach(t, p, 1)
	if _, err := p.Rebuild(t.Context(), &projection.RebuildOptions{Keep: true}); err != nil {
		t.Fatal(err)
	}
	last := deposit(t, store, "a", 2)
	reach(t, p, last.Position)
	if err := p.Show(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	last = deposit(t, store, "a", 3)
	reach(t, p, last.Position)
	eventually(t, "the old generation has caught up", func() bool { return read(t, file, "balances")["a"] == 6 })
	if err := p.Show(t.Context(), 9); !errors.Is(err, projection.ErrNoGeneration) {
		t.Errorf("a generation that is not there: %v", err)
	}
}

func TestRebuildStream(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	forget := projection.Forget(func(_ context.Context, b *bbolt.Bucket, stream eventstore.StreamID) error {
		return b.Delete([]byte(stream.ID))
	})
	factor := 1
	p := newProjection(t, "balances", store, file, projection.From("account", codec, forget,
		projection.On(func(_ context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			return add(b, at.Stream.ID, factor*e.Amount)
		})), nil)
	for i := range 10 {
		deposit(t, store, i%2, 1)
	}
	r := start(t, p)
	reach(t, p, 10)
	_ = r.end()
	factor = 10
	if err := p.RebuildStream(t.Context(), account(1)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file, "balances"); got["0"] != 5 || got["1"] != 50 {
		t.Errorf("read model: %v", got)
	}
	start(t, p)
	last := deposit(t, store, 1, 1)
	reach(t, p, last.Position)
	if got := read(t, file, "balances"); got["1"] != 60 {
		t.Errorf("read model: %v", got)
	}
	plain := newProjection(t, "plain", store, file, balances(), nil)
	if err := plain.RebuildStream(t.Context(), account(1)); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("without Forget: %v", err)
	}
}

// A dry run, and a rebuild up to a position, leave an unfinished rebuild alone.
func TestRebuildsOfOtherPurposes(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	for range 30 {
		deposit(t, store, "a", 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls atomic.Int64
	p := newProjection(t, "balances", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if calls.Add(1) == 45 {
				cancel()
			}
			return addBalance(ctx, b, e, at)
		})), &projection.Options{Batch: 5})
	if err := p.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	unfinished, err := p.Rebuild(ctx, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", unfinished, err)
	}
	if err := p.Show(t.Context(), unfinished.Generation); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("it is shown: %v", err)
	}
	for _, opts := range []*projection.RebuildOptions{{DryRun: true}, {To: 7}} {
		if _, err := p.Rebuild(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
	}
	done, err := p.Rebuild(t.Context(), nil)
	if err != nil || done.Generation != unfinished.Generation || done.Commits != 30-unfinished.Position {
		t.Errorf("%+v after %+v, %v", done, unfinished, err)
	}
}

func TestOlderVersionDoesNotRebuild(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	deposit(t, store, "a", 1)
	if err := newProjection(t, "balances", store, file, balances(), &projection.Options{Version: 2}).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	older := newProjection(t, "balances", store, file, balances(), &projection.Options{Version: 1})
	if _, err := older.Rebuild(t.Context(), nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("an older program rebuilds: %v", err)
	}
}
