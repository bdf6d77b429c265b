package projection_test

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

// totals is a read model in memory.
type totals struct{ Balances map[string]int }

func newTotals() totals { return totals{Balances: map[string]int{}} }

func addTotal(_ context.Context, t *totals, e deposited, at projection.Event) error {
	t.Balances[at.Stream.ID] += e.Amount
	return nil
}

func viewTotals(t testing.TB, m *projection.Memory[totals], name string) (all map[string]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := m.View(ctx, name, func(v *totals) error {
		all = maps.Clone(v.Balances)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMemory(t *testing.T) {
	t.Parallel()
	store, path := testutil.Store(t), filepath.Join(t.TempDir(), "models")
	for round := range 3 {
		file, err := projection.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var handled atomic.Int64
		m := projection.NewMemory(file, newTotals)
		p := newProjection(t, "totals", store, m, projection.From("account", codec,
			projection.On(func(ctx context.Context, v *totals, e deposited, at projection.Event) error {
				handled.Add(1)
				return addTotal(ctx, v, e, at)
			})), nil)
		r := start(t, p)
		for i := range 20 {
			deposit(t, store, i%3, i)
		}
		reach(t, p, end(t, store))
		if got, want := viewTotals(t, m, "totals"), folded(t, store); !maps.Equal(got, want) {
			t.Errorf("round %d: read model %v, log %v", round, got, want)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if handled.Load() != 20 {
			t.Errorf("round %d: %d events were handled", round, handled.Load())
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a handler changed before it failed does not count, and readers never see it.
func TestMemoryFailures(t *testing.T) {
	t.Parallel()
	for _, saved := range []bool{true, false} {
		store := testutil.Store(t)
		var file *projection.File
		if saved {
			file = openFile(t)
		}
		var calls atomic.Int64
		m := projection.NewMemory(file, newTotals)
		p := newProjection(t, "totals", store, m, projection.From("account", codec,
			projection.On(func(ctx context.Context, v *totals, e deposited, at projection.Event) error {
				err := addTotal(ctx, v, e, at)
				if n := calls.Add(1); n%5 == 0 || e.Amount == 13 {
					return errors.Join(err, errPoison)
				}
				return err
			})), &projection.Options{Poison: projection.Park, Attempts: 3, Batch: 7})
		start(t, p)
		var last eventstore.Revision
		for i := range 30 {
			last = deposit(t, store, i, 1)
			if i == 20 {
				deposit(t, store, "bad", 13)
			}
		}
		reach(t, p, last.Position)
		want := folded(t, store)
		delete(want, "bad")
		if got := viewTotals(t, m, "totals"); !maps.Equal(got, want) {
			t.Errorf("read model %v, log %v", got, want)
		}
		if p.Status().Parked != 1 {
			t.Errorf("%+v", p.Status())
		}
	}
}

func TestMemoryRebuild(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	m := projection.NewMemory(file, newTotals)
	p := newProjection(t, "totals", store, m, projection.From("account", codec, projection.On(addTotal)), nil)
	start(t, p)
	for i := range 50 {
		deposit(t, store, i%3, 1)
	}
	reach(t, p, 50)
	if done, err := p.Rebuild(t.Context(), nil); err != nil || done.Generation != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	last := deposit(t, store, "new", 1)
	reach(t, p, last.Position)
	if got, want := viewTotals(t, m, "totals"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("read model %v, log %v", got, want)
	}
}

// loses has a field that is not saved.
type loses struct{ n int }

func TestMemoryThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	m := projection.NewMemory[loses](file, nil)
	p := newProjection(t, "loses", store, m, projection.From("account", codec,
		projection.On(func(_ context.Context, v *loses, e deposited, _ projection.Event) error {
			v.n += e.Amount
			return nil
		})), nil)
	deposit(t, store, "a", 1)
	r := start(t, p)
	eventually(t, "it handled the event", func() bool { return p.Status().Position == 1 })
	if err := r.end(); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a state that is lost: %v", err)
	}
}
