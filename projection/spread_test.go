package projection_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

// A projection with several workers stops at a commit, while others are far ahead. When
// the handler is mended it is rebuilt.
func TestRebuildOfOneThatStopped(t *testing.T) {
	t.Parallel()
	store, vault := testutil.Store(t), newVault(false)
	var mended atomic.Bool
	p := newProjection(t, "spread", store, vault, projection.From("account", codec,
		projection.On(func(_ context.Context, tx *vaultTx, e deposited, at projection.Event) error {
			if e.Amount == 13 && !mended.Load() {
				return errPoison
			}
			tx.handle(at)
			return nil
		})), &projection.Options{Workers: 8, Batch: 10, Attempts: 12})
	deposit(t, store, "first", 1)
	deposit(t, store, "bad", 13)
	other := "good"
	for workerOf(account(other), 8) == workerOf(account("bad"), 8) {
		other += "!"
	}
	for range 100 {
		deposit(t, store, other, 1)
	}
	if err := start(t, p).ended(); !errors.Is(err, projection.ErrStopped) {
		t.Fatal(err)
	}
	mended.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if done, err := p.Rebuild(ctx, nil); err != nil {
		t.Fatalf("%+v, %v", done, err)
	}
	if err := p.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	auditVault(t, vault, store).complete()
}
