package aggregate_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// at are the options of a command for a version.
func at(version uint64, commandID string) *aggregate.ExecuteOptions {
	return &aggregate.ExecuteOptions{Version: version, CommandID: commandID}
}

// wantConflict checks that a command for a version was not executed, and why.
func wantConflict(t *testing.T, err error, id string, expected, actual uint64) {
	t.Helper()
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("%s at version %d: got %v", id, expected, err)
		return
	}
	want := eventstore.ConflictError{Stream: eventstore.StreamID{Kind: "account", ID: id}, Expected: eventstore.Version(expected), Actual: actual}
	if *conflict != want {
		t.Errorf("got %+v, want %+v", *conflict, want)
	}
}

// A command for a version is executed on that one only, whatever is in memory.
func conditional(t *testing.T, b bank) {
	id := t.Name()
	_, _, err := b.Execute(t.Context(), id, Deposit{{Amount: 1}}, at(1, ""))
	wantConflict(t, err, id, 1, 0)
	execute(t, b.Accounts, id, Deposit{{Amount: 1}, {Amount: 2}}, "")
	for _, version := range []uint64{1, 3} { // one that it had, and one that it will have
		_, _, err = b.Execute(t.Context(), id, Deposit{{Amount: 1}}, at(version, ""))
		wantConflict(t, err, id, version, 2)
	}
	if a, now, err := b.Execute(t.Context(), id, Deposit{{Amount: 3}}, at(2, "")); err != nil || a.Balance != 6 || now.Version != 3 {
		t.Errorf("at its version: %+v at %+v, %v", a, now, err)
	}

	// What is in memory is old: the version is one that only the log has.
	other := b.other(t, nil)
	execute(t, other, id, Deposit{{Amount: 4}}, "")
	if a, now, err := b.Execute(t.Context(), id, Deposit{{Amount: 5}}, at(4, "")); err != nil || a.Balance != 15 || now.Version != 5 {
		t.Errorf("at a version that is not in memory: %+v at %+v, %v", a, now, err)
	}
	// And the other way round: the version is the one in memory.
	_, _, err = other.Execute(t.Context(), id, Deposit{{Amount: 6}}, at(4, ""))
	wantConflict(t, err, id, 4, 5)
	want(t, b.Accounts, id, 15, 5)
}

// Neither a refusal nor that there is nothing to do is said of an old state.
func conditionalOnOldState(t *testing.T, b bank) {
	other := b.other(t, nil)
	for what, c := range map[string]aggregate.Command[Account, Event]{
		"refused": Withdraw{1000}, "nothing to do": Deposit{}, "events": Deposit{{Amount: 1}},
	} {
		id := t.Name() + what
		execute(t, b.Accounts, id, Deposit{{Amount: 1}}, "")
		execute(t, other, id, Deposit{{Amount: 1}}, "")
		_, _, err := b.Execute(t.Context(), id, c, at(1, ""))
		wantConflict(t, err, id, 1, 2)
	}
}

// A command that was applied is answered as the first time, though the version has
// passed.
func conditionalAgain(t *testing.T, b bank) {
	all := deliver(t, b)
	again := func(accounts *Accounts, remembered bool) {
		t.Helper()
		for _, d := range all {
			a, now, err := accounts.Execute(t.Context(), d.account, d.command, at(1, commandID))
			if err != nil || !a.equal(d.state) || !same(now, d.at) || !now.Replayed {
				t.Errorf("%s: the answer was %+v at %+v, and now is %+v at %+v, %v", d.account, d.state, d.at, a, now, err)
			}
			_, head, err := accounts.Load(t.Context(), d.account)
			if err != nil {
				t.Fatal(err)
			}
			if !remembered { // then only the commit that follows the version counts
				_, _, err = accounts.Execute(t.Context(), d.account, d.command, at(head.Version-1, commandID))
				wantConflict(t, err, d.account, head.Version-1, head.Version)
			}
			_, _, err = accounts.Execute(t.Context(), d.account, d.command, at(1, "another"))
			wantConflict(t, err, d.account, 1, head.Version)
		}
	}
	again(b.Accounts, true)
	others(t, b, all, eventstore.Remembered-1)
	again(b.Accounts, true)
	again(b.other(t, nil), true)
	others(t, b, all, 1)
	again(b.Accounts, false)
	again(b.other(t, nil), false)
}

// Of those who have seen the same version and want to change it one wins.
func conditionalRace(t *testing.T, b bank) {
	const clients, rounds = 8, 20
	id := t.Name()
	accounts := []*Accounts{b.other(t, nil), b.other(t, nil)}
	execute(t, b.Accounts, id, Deposit{{Amount: 1}}, "")
	for round := range uint64(rounds) {
		version := round + 1
		errs := make([]error, clients)
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				_, _, errs[c] = accounts[c%2].Execute(t.Context(), id, Deposit{{Amount: 1}}, at(version, fmt.Sprint(round, " ", c)))
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			wantConflict(t, err, id, version, version+1)
		}
		if won != 1 {
			t.Fatalf("round %d: %d of %d commands for version %d were executed", round, won, clients, version)
		}
	}
	want(t, b.Accounts, id, rounds+1, rounds+1)
}

// The same command for a version, delivered to many, is applied once, and all are
// told so.
func conditionalRedelivery(t *testing.T, b bank) {
	const clients, rounds = 8, 10
	id := t.Name()
	accounts := []*Accounts{b.other(t, nil), b.other(t, nil)}
	execute(t, b.Accounts, id, Deposit{{Amount: 1}}, "")
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				_, now, err := accounts[c%2].Execute(t.Context(), id, Deposit{{Amount: 1}}, at(round+1, fmt.Sprint(round)))
				if err != nil || now.Version != round+2 {
					t.Errorf("round %d: %+v, %v", round, now, err)
				}
			})
		}
		wg.Wait()
	}
	want(t, b.Accounts, id, rounds+1, rounds+1)
}

// What is known of an aggregate changes what a command for a version costs, not what
// it answers. Each row is what the process knows before the command.
func TestConditionalCosts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known                  uint64 // version in memory; 0: none
		version                uint64
		appends, reads, events int64
		conflict               bool
	}{
		"in memory, and the last":                    {known: 25, version: 25, appends: 1},
		"in memory, and not the last":                {known: 24, version: 24, appends: 1, reads: 1, events: 1, conflict: true},
		"in memory, older than the version":          {known: 24, version: 25, appends: 1, reads: 1, events: 1},
		"in memory, later than the version":          {known: 25, version: 24, reads: 1, conflict: true},
		"a snapshot before the version":              {version: 25, appends: 1, reads: 1, events: 5},
		"a snapshot, and the version was before it":  {version: 15, reads: 1, events: 5, conflict: true},
		"a snapshot, and the version is that of it":  {version: 20, reads: 1, events: 5, conflict: true},
		"a snapshot, and a version that never was":   {version: 26, reads: 1, events: 5, conflict: true},
		"in memory, and a version that has not been": {known: 25, version: 26, reads: 1, conflict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, snaps := &counted{Store: testutil.Store(t)}, snapshots(t)
			writer := cold(store, snaps, "")
			accounts := cold(store, snaps, "")
			for i := range uint64(25) {
				if i == c.known && c.known > 0 {
					want(t, accounts, "1", int(i), i)
				}
				execute(t, writer, "1", Deposit{{Amount: 1}}, "")
			}
			if c.known == 25 {
				want(t, accounts, "1", 25, 25)
			}
			flush(t, snaps)
			store.costs(t, "before", store.appends.Load(), store.reads.Load(), store.events.Load())
			a, now, err := accounts.Execute(t.Context(), "1", Deposit{{Amount: 1}}, at(c.version, "the id"))
			store.costs(t, "the command", c.appends, c.reads, c.events)
			if c.conflict {
				wantConflict(t, err, "1", c.version, 25)
			} else if err != nil || a.Balance != 26 || now.Version != 26 {
				t.Errorf("%+v at %+v, %v", a, now, err)
			}
		})
	}
}

// Without memory a command for a version is decided on what the log says.
func TestConditionalWithoutMemory(t *testing.T) {
	t.Parallel()
	accounts, other, _ := countedBank(t, &aggregate.Options{Cache: -1})
	execute(t, other, "1", Deposit{{Amount: 1}}, "")
	if _, now, err := accounts.Execute(t.Context(), "1", Deposit{{Amount: 1}}, at(1, "x")); err != nil || now.Version != 2 {
		t.Errorf("%+v, %v", now, err)
	}
	_, _, err := accounts.Execute(t.Context(), "1", Deposit{{Amount: 1}}, at(1, "y"))
	wantConflict(t, err, "1", 1, 2)
	if _, now, err := accounts.Execute(t.Context(), "1", Deposit{{Amount: 1}}, at(1, "x")); err != nil || now.Version != 2 || !now.Replayed {
		t.Errorf("again: %+v, %v", now, err)
	}
}

// An append that the log refuses though the version was right is a conflict with what
// came between.
func TestConditionalOvertaken(t *testing.T) {
	t.Parallel()
	accounts, other, _ := countedBank(t, nil)
	execute(t, accounts, "1", Deposit{{Amount: 1}}, "")
	asked := 0
	_, _, err := accounts.Execute(t.Context(), "1", decision(func(Account) ([]Event, error) {
		asked++
		execute(t, other, "1", Deposit{{Amount: 10}, {Amount: 20}}, "")
		return []Event{Deposited{Amount: 100}}, nil
	}), at(1, "x"))
	wantConflict(t, err, "1", 1, 3)
	if asked != 1 {
		t.Errorf("it decided %d times", asked)
	}
	if got := accounts.Stats().Conflicts; got != 1 {
		t.Errorf("counted %d conflicts", got)
	}
	want(t, accounts, "1", 31, 3)
}
