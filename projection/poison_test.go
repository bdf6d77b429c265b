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

var errPoison = errors.New("the handler does not like 13")

// picky are balances that fail for an amount of 13, unless they are mended.
func picky(mended *atomic.Bool) projection.Handlers[*bbolt.Bucket] {
	return projection.From("account", codec, projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
		if err := addBalance(ctx, b, e, at); err != nil {
			return err
		}
		if e.Amount == 13 && !mended.Load() {
			return errPoison
		}
		return nil
	}))
}

func Test66PoisonStops(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		for i := range 5 {
			deposit(t, store, i, 1)
		}
		bad := deposit(t, store, "bad", 1, 13)
		last := deposit(t, store, 0, 1)
		var failures atomic.Int64
		var mended atomic.Bool
		opts := &projection.Options{Attempts: 3, Hooks: projection.Hooks{Failure: func(f projection.Failure) {
			if f.Position == bad.Position && f.Stream == account("bad") {
				failures.Add(1)
			}
		}}}
		p := newProjection(t, "picky", store, file, picky(&mended), opts)
		err := start(t, p).ended()
		var stopped *projection.StoppedError
		if !errors.As(err, &stopped) || !errors.Is(err, projection.ErrStopped) || !errors.Is(err, errPoison) {
			t.Fatalf("it ended with %v", err)
		}
		if stopped.Stream != account("bad") || stopped.Position != bad.Position || stopped.Version != 1 || stopped.Attempts != 3 || failures.Load() != 3 {
			t.Errorf("%+v after %d failures", stopped, failures.Load())
		}
		if got := read(t, file, "picky"); len(got) != 5 || got["bad"] != 0 || got["0"] != 1 {
			t.Errorf("read model after the stop: %v", got)
		}
		if s := p.Status(); s.State != projection.Stopped || !errors.Is(s.Err, errPoison) || s.Position != bad.Position-1 {
			t.Errorf("status: %+v", s)
		}
		if err := p.Wait(t.Context(), last); !errors.Is(err, projection.ErrStopped) {
			t.Errorf("a wait for what comes after: %v", err)
		}
		mended.Store(true)
		start(t, p)
		eventually(t, "it runs again", func() bool { return p.Status().State != projection.Stopped })
		reach(t, p, last.Position)
		if got, want := read(t, file, "picky"), folded(t, store); !maps.Equal(got, want) {
			t.Errorf("read model %v, log %v", got, want)
		}
	})
}

func Test67ParkedStream(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, store *eventstore.Store) {
		file := openFile(t)
		deposit(t, store, "bad", 1)
		bad := deposit(t, store, "bad", 13)
		behind := deposit(t, store, "bad", 2)
		good := deposit(t, store, "good", 13+1)
		var mended atomic.Bool
		opts := &projection.Options{Attempts: 2, Poison: projection.Park}
		p := newProjection(t, "picky", store, file, picky(&mended), opts)
		start(t, p)
		reach(t, p, good.Position)
		if got := read(t, file, "picky"); got["bad"] != 1 || got["good"] != 14 {
			t.Errorf("read model: %v", got)
		}
		for _, at := range []eventstore.Revision{bad, behind} {
			var parked *projection.ParkedError
			if err := p.Wait(t.Context(), at); !errors.As(err, &parked) || parked.Stream != account("bad") || parked.Position != bad.Position {
				t.Errorf("a wait for what is parked: %v", err)
			}
		}
		last := deposit(t, store, "bad", 3) // parked live
		reachParked(t, p, last)
		list, err := p.Parked(t.Context())
		if err != nil || len(list) != 1 || list[0].Waiting != 3 || list[0].Version != 2 || list[0].Attempts != 2 || list[0].Reason != errPoison.Error() {
			t.Fatalf("parked: %+v, %v", list, err)
		}
		if p.Status().Parked != 1 {
			t.Errorf("status: %+v", p.Status())
		}
		// Not mended: it stays, and what is before it is not handled twice.
		if err := p.Retry(t.Context(), account("bad")); !errors.Is(err, projection.ErrParked) {
			t.Errorf("a retry in vain: %v", err)
		}
		mended.Store(true)
		if err := p.Retry(t.Context(), account("bad")); err != nil {
			t.Fatal(err)
		}
		last = deposit(t, store, "bad", 4)
		reach(t, p, last.Position)
		if got, want := read(t, file, "picky"), folded(t, store); !maps.Equal(got, want) {
			t.Errorf("read model %v, log %v", got, want)
		}
		if err := p.Retry(t.Context(), account("bad")); !errors.Is(err, projection.ErrNotParked) {
			t.Errorf("a retry of nothing: %v", err)
		}
	})
}

// reachParked waits until a commit is parked.
func reachParked(t testing.TB, p runner, at eventstore.Revision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx, at); !errors.Is(err, projection.ErrParked) {
		t.Fatalf("position %d is not parked: %v", at.Position, err)
	}
}

func Test67Discard(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	for _, amount := range []int{1, 13, 2, 13, 3} {
		deposit(t, store, "bad", amount)
	}
	var mended atomic.Bool
	p := newProjection(t, "picky", store, file, picky(&mended), &projection.Options{Attempts: 1, Poison: projection.Park})
	start(t, p)
	eventually(t, "it is live", func() bool { return p.Status().State == projection.Live })
	var parked *projection.ParkedError
	if err := p.Discard(t.Context(), account("bad")); !errors.As(err, &parked) || parked.Version != 4 || parked.Waiting != 2 {
		t.Fatalf("the next one cannot be handled either: %v", err)
	}
	if got := read(t, file, "picky"); got["bad"] != 3 {
		t.Errorf("after the first: %v", got)
	}
	if err := p.Discard(t.Context(), account("bad")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, file, "picky"); got["bad"] != 6 {
		t.Errorf("after the second: %v", got)
	}
	list, err := p.Parked(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("parked: %v, %v", list, err)
	}
}

func TestUnknownType(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	deposit(t, store, "a", 1)
	odd := appended(t, store, account("a"), eventstore.EventData{Type: "account.renamed", Data: []byte("{}")})
	last := deposit(t, store, "a", 2)

	refuses := newProjection(t, "refuses", store, file, balances(), nil)
	err := start(t, refuses).ended()
	var stopped *projection.StoppedError
	if !errors.As(err, &stopped) || stopped.Position != odd.Position || stopped.Attempts != 1 || !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("an unknown type: %v", err)
	}
	ignores := newProjection(t, "ignores", store, file, balances(), &projection.Options{Unknown: projection.Ignore})
	start(t, ignores)
	reach(t, ignores, last.Position)
	if got := read(t, file, "ignores")["a"]; got != 3 {
		t.Errorf("balance %d", got)
	}
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "panics", store, file, projection.From("account", codec,
		projection.On(func(context.Context, *bbolt.Bucket, deposited, projection.Event) error { panic(errPoison) })), &projection.Options{Attempts: 2})
	deposit(t, store, "a", 1)
	err := start(t, p).ended()
	var panicked *projection.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, errPoison) || len(panicked.Stack) == 0 || !errors.Is(err, projection.ErrStopped) {
		t.Errorf("a panic: %v", err)
	}
}

// A permanent error is not tried again; others are, and may go away.
func TestTransientErrors(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var calls atomic.Int64
	p := newProjection(t, "flaky", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if err := addBalance(ctx, b, e, at); err != nil {
				return err
			}
			if calls.Add(1)%3 != 0 {
				return errPoison
			}
			return nil
		})), nil)
	var last eventstore.Revision
	for range 10 {
		last = deposit(t, store, "a", 1)
	}
	start(t, p)
	reach(t, p, last.Position)
	if got := read(t, file, "flaky")["a"]; got != 10 {
		t.Errorf("balance %d", got)
	}

	permanent := newProjection(t, "permanent", store, file, projection.From("account", codec,
		projection.On(func(context.Context, *bbolt.Bucket, deposited, projection.Event) error {
			return &projection.Permanent{Err: errPoison}
		})), nil)
	err := start(t, permanent).ended()
	var stopped *projection.StoppedError
	if !errors.As(err, &stopped) || stopped.Attempts != 1 || !errors.Is(err, errPoison) {
		t.Errorf("a permanent error: %v", err)
	}
}
