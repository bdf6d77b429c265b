package projection_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

func TestEffects(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var mu sync.Mutex
	sent := make(map[string][]int) // by stream
	p := newProjection(t, "mails", store, projection.NewEffects(file), projection.From("account", codec,
		projection.On(func(_ context.Context, _ struct{}, e deposited, at projection.Event) error {
			mu.Lock()
			defer mu.Unlock()
			sent[at.Stream.ID] = append(sent[at.Stream.ID], e.Amount)
			return nil
		})), &projection.Options{Workers: 4})
	r := start(t, p)
	for i := range 100 {
		deposit(t, store, i%10, i)
	}
	reach(t, p, 100)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	for id, amounts := range sent {
		want := []int{}
		for i := range 100 {
			if strconv.Itoa(i%10) == id {
				want = append(want, i)
			}
		}
		if !slices.Equal(amounts, want) {
			t.Errorf("account %s: %v", id, amounts)
		}
	}
	if len(sent) != 10 || position(t, p) != 100 {
		t.Errorf("%d accounts, checkpoint %d", len(sent), position(t, p))
	}
}

// The number of workers may change between runs.
func TestWorkersChange(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var mu sync.Mutex
	seen := make(map[uint64]int)
	for _, workers := range []int{1, 4, 16, 3, 1} {
		p := newProjection(t, "mails", store, projection.NewEffects(file), projection.From("account", codec,
			projection.On(func(_ context.Context, _ struct{}, _ deposited, at projection.Event) error {
				mu.Lock()
				defer mu.Unlock()
				seen[at.Position]++
				return nil
			})), &projection.Options{Workers: workers})
		for i := range 40 {
			deposit(t, store, i%10, i)
		}
		r := start(t, p)
		reach(t, p, end(t, store))
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	}
	for at, n := range seen {
		if n != 1 {
			t.Errorf("position %d was handled %d times", at, n)
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d of 200 commits were handled", len(seen))
	}
}
