package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// counted is a store that counts what it is asked.
type counted struct {
	*eventstore.Store
	appends, reads, events atomic.Int64
}

func (c *counted) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	c.appends.Add(1)
	return c.Store.Append(ctx, stream, expected, events, opts)
}

func (c *counted) Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		c.reads.Add(1)
		for e, err := range c.Store.Read(ctx, stream, opts) {
			c.events.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

// costs checks what the store was asked since the last call.
func (c *counted) costs(t *testing.T, what string, appends, reads, events int64) {
	t.Helper()
	if a, r, e := c.appends.Swap(0), c.reads.Swap(0), c.events.Swap(0); a != appends || r != reads || e != events {
		t.Errorf("%s: %d appends and %d reads of %d events, want %d, %d and %d", what, a, r, e, appends, reads, events)
	}
}

// countedBank returns accounts whose store is counted, and the same accounts as
// another process has them.
func countedBank(t *testing.T, opts *aggregate.Options) (accounts *Accounts, other *Accounts, store *counted) {
	t.Helper()
	store = &counted{Store: testutil.Store(t)}
	return aggregate.NewRepository[Account](store, "account", codec, opts),
		aggregate.NewRepository[Account](store.Store, "account", codec, nil), store
}

// A hot aggregate's command costs the append, and one that is not the last any
// more costs a conflict and what is new.
func TestCommandOnCachedState(t *testing.T) {
	t.Parallel()
	accounts, other, store := countedBank(t, nil)
	execute(t, accounts, "1", Deposit{{Amount: 1}}, "")
	store.costs(t, "the first command", 1, 1, 0)
	execute(t, accounts, "1", Deposit{{Amount: 2}, {Amount: 3}}, "")
	execute(t, accounts, "1", Withdraw{5}, "")
	store.costs(t, "two more", 2, 0, 0)
	execute(t, other, "1", Deposit{{Amount: 10}, {Amount: 20}}, "")
	if a, at := execute(t, accounts, "1", Deposit{{Amount: 100}}, ""); a.Balance != 131 || at.Version != 7 {
		t.Errorf("after another writer: %+v at %v", a, at)
	}
	store.costs(t, "after another writer", 2, 1, 2)
	if got, want := accounts.Stats(), (aggregate.Stats{FromCache: 3, FromLog: 1, Conflicts: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// That a state in memory is old is no attempt that failed.
func TestStaleStateIsNoAttempt(t *testing.T) {
	t.Parallel()
	accounts, other, _ := countedBank(t, &aggregate.Options{Attempts: 1})
	execute(t, accounts, "1", Deposit{{Amount: 1}}, "")
	execute(t, other, "1", Deposit{{Amount: 2}}, "")
	if a, at := execute(t, accounts, "1", Withdraw{3}, ""); a.Balance != 0 || at.Version != 3 {
		t.Errorf("after another writer: %+v at %v", a, at)
	}
}

// No refusal, and no decision for nothing, is made on a state that is not the
// last.
func TestNoWrongRefusal(t *testing.T) {
	t.Parallel()
	accounts, other, store := countedBank(t, nil)
	execute(t, accounts, "1", Deposit{{Amount: 1}}, "")
	execute(t, other, "1", Deposit{{Amount: 10}}, "")
	if a, _ := execute(t, accounts, "1", Withdraw{5}, ""); a.Balance != 6 {
		t.Errorf("it withdrew, and there is %+v", a)
	}
	execute(t, other, "1", Withdraw{6}, "")
	empty := decision(func(a Account) ([]Event, error) {
		if a.Balance == 0 {
			return []Event{Deposited{Amount: 7}}, nil
		}
		return nil, nil
	})
	if a, _ := execute(t, accounts, "1", empty, ""); a.Balance != 7 {
		t.Errorf("it filled what was empty, and there is %+v", a)
	}
	store.costs(t, "three commands", 3, 3, 2)
	// One that is right costs a look.
	_, _, err := accounts.Execute(t.Context(), "1", Withdraw{100}, nil)
	var rejected *aggregate.RejectedError
	if !errors.As(err, &rejected) || rejected.Version != 5 {
		t.Errorf("refused with %v", err)
	}
	execute(t, accounts, "1", empty, "")
	store.costs(t, "a refusal, and nothing to do", 0, 2, 0)
}

func TestCached(t *testing.T) {
	t.Parallel()
	accounts, other, store := countedBank(t, nil)
	if a, at, ok := accounts.Cached("1"); ok || at.Version != 0 {
		t.Errorf("cached before it was loaded: %+v at %v", a, at)
	}
	want(t, accounts, "1", 0, 0)
	if _, _, ok := accounts.Cached("1"); ok {
		t.Error("an account without events is cached")
	}
	execute(t, other, "1", Deposit{{Amount: 1}}, "")
	want(t, accounts, "1", 1, 1)
	execute(t, other, "1", Deposit{{Amount: 1}}, "")
	store.costs(t, "two loads", 0, 2, 1)
	if a, at, ok := accounts.Cached("1"); !ok || a.Balance != 1 || at.Version != 1 {
		t.Errorf("cached: %+v at %v, %t", a, at, ok)
	}
	store.costs(t, "what is cached", 0, 0, 0)
	want(t, accounts, "1", 2, 2)
	store.costs(t, "a load of what is new", 0, 1, 1)
	if a, at, err := accounts.LoadVersion(t.Context(), "1", 2); err != nil || a.Balance != 2 || at.Version != 2 {
		t.Errorf("version 2: %+v at %v, %v", a, at, err)
	}
	store.costs(t, "the cached version", 0, 0, 0)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	for size, kept := range map[int]int{-1: 0, 1: 1, 3: 3, 0: 5} {
		accounts, _, _ := countedBank(t, &aggregate.Options{Cache: size})
		for i := range 5 {
			execute(t, accounts, fmt.Sprint(i), Deposit{{Amount: 1}}, "")
		}
		for i := range 5 {
			if _, _, ok := accounts.Cached(fmt.Sprint(i)); ok != (i >= 5-kept) {
				t.Errorf("of a cache for %d: account %d is there: %t", size, i, ok)
			}
		}
		for i := range 5 {
			want(t, accounts, fmt.Sprint(i), 1, 1)
		}
	}
}

// Commands on one aggregate queue, so that none is decided in vain. Commands
// and loads of others go on meanwhile.
func TestCommandsQueue(t *testing.T) {
	t.Parallel()
	accounts, _, store := countedBank(t, nil)
	var running sync.WaitGroup
	for range 64 {
		running.Go(func() {
			for range 5 {
				execute(t, accounts, "1", Deposit{{Amount: 1}}, "")
			}
		})
	}
	running.Wait()
	want(t, accounts, "1", 320, 320)
	store.costs(t, "320 commands at once, and a load", 320, 2, 0)

	held, release := make(chan struct{}), make(chan struct{})
	running.Go(func() {
		execute(t, accounts, "1", decision(func(Account) ([]Event, error) {
			close(held)
			<-release
			return []Event{Deposited{Amount: 1}}, nil
		}), "")
	})
	<-held
	execute(t, accounts, "2", Deposit{{Amount: 1}}, "")
	want(t, accounts, "1", 320, 320)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := accounts.Execute(ended, "1", Withdraw{1}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a command whose context ends while it waits: %v", err)
	}
	close(release)
	running.Wait()
	want(t, accounts, "1", 321, 321)
}

// Whoever waits for long goes ahead, and the log decides: a command may wait for
// a server that is gone.
func TestCommandsQueueBriefly(t *testing.T) {
	t.Parallel()
	accounts, _, _ := countedBank(t, nil)
	execute(t, accounts, "1", Deposit{{Amount: 10}}, "")
	decided := 0
	a, at := execute(t, accounts, "1", decision(func(a Account) ([]Event, error) {
		if decided++; decided == 1 {
			execute(t, accounts, "1", Deposit{{Amount: 5}}, "")
		}
		return []Event{Withdrawn{Amount: a.Balance}}, nil
	}), "")
	if decided != 2 || a.Balance != 0 || at.Version != 3 {
		t.Errorf("decided %d times, and there is %+v at %v", decided, a, at)
	}
}

// slowly is a store on which an append takes its time.
type slowly struct{ *eventstore.Store }

func (s slowly) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	<-time.After(15 * time.Millisecond)
	return s.Store.Append(ctx, stream, expected, events, opts)
}

// A queue that moves on is waited in, however long it is.
func TestLongQueue(t *testing.T) {
	t.Parallel()
	accounts := aggregate.NewRepository[Account](slowly{testutil.Store(t)}, "account", codec, nil)
	var running sync.WaitGroup
	for range 120 {
		running.Go(func() { execute(t, accounts, "1", Deposit{{Amount: 1}}, "") })
	}
	running.Wait()
	want(t, accounts, "1", 120, 120)
	if got := accounts.Stats().Conflicts; got > 0 {
		t.Errorf("%d conflicts", got)
	}
}

// A load does not wait for a command that decides.
func TestLoadBesideCommand(t *testing.T) {
	t.Parallel()
	accounts, other, _ := countedBank(t, nil)
	execute(t, other, "1", Deposit{{Amount: 1}}, "")
	decided := make(chan time.Duration, 1)
	execute(t, accounts, "1", decision(func(Account) ([]Event, error) {
		start := time.Now()
		want(t, accounts, "1", 1, 1)
		decided <- time.Since(start)
		return nil, nil
	}), "")
	if took := <-decided; took > time.Second/2 { // a millisecond, on a machine that has time
		t.Errorf("the load took %v", took)
	}
}

// Many who load an aggregate for the first time read it once.
func TestLoadsOfTheSameAggregate(t *testing.T) {
	t.Parallel()
	accounts, other, store := countedBank(t, nil)
	for range 100 {
		execute(t, other, "1", Deposit{{Amount: 1}}, "")
	}
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() { want(t, accounts, "1", 100, 100) })
	}
	running.Wait()
	store.costs(t, "16 loads", 0, 16, 100)
}
