package aggregate_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
)

func commandChanges(t *testing.T, b bank) {
	when := time.Date(2025, 1, 2, 3, 4, 5, 6, time.UTC)
	opts := &aggregate.ExecuteOptions{CommandID: "c-1", Time: when, Metadata: map[string]string{"user": "ann"}}
	a, at, err := b.Execute(t.Context(), "changed", Deposit{{Amount: 3}, {Amount: 4}}, opts)
	if err != nil || a.Balance != 7 || at.Version != 2 || at.CommitID != "c-1" || at.Replayed {
		t.Errorf("after two deposits: %+v at %+v, %v", a, at, err)
	}
	a, at = execute(t, b.Accounts, "changed", Withdraw{5}, "")
	if a.Balance != 2 || at.Version != 3 {
		t.Errorf("after a withdrawal: %+v at %+v", a, at)
	}
	want(t, b.Accounts, "changed", 2, 3)
	want(t, b.other(t, nil), "changed", 2, 3)
	want(t, b.Accounts, "change", 0, 0)
	for e, err := range b.store.Read(t.Context(), eventstore.StreamID{Kind: "account", ID: "changed"}, &eventstore.ReadOptions{To: 2}) {
		if err != nil || e.Type != "account.deposited" || !e.Time.Equal(when) || !maps.Equal(e.Metadata, opts.Metadata) {
			t.Errorf("stored as %+v, %v", e, err)
		}
	}
}

func commandDoesNothing(t *testing.T, b bank) {
	_, before := execute(t, b.Accounts, "idle", Deposit{{Amount: 1}}, "")
	a, at := execute(t, b.Accounts, "idle", Deposit{}, "nothing")
	if a.Balance != 1 || !same(at, before) || at.Replayed {
		t.Errorf("nothing happened, and the account is %+v at %+v", a, at)
	}
	if a, at := execute(t, b.Accounts, "idle, new", Deposit{}, ""); a.Balance != 0 || at.Version != 0 {
		t.Errorf("nothing happened, and the account is %+v at %+v", a, at)
	}
}

func commandRejected(t *testing.T, b bank) {
	execute(t, b.Accounts, "poor", Deposit{{Amount: 1}, {Amount: 1}}, "")
	a, at, err := b.Execute(t.Context(), "poor", Withdraw{3}, &aggregate.ExecuteOptions{CommandID: "try"})
	var rejected *aggregate.RejectedError
	if !errors.As(err, &rejected) || !errors.Is(err, errInsufficient) {
		t.Fatalf("got %v, want a RejectedError because of %v", err, errInsufficient)
	}
	if rejected.Stream != (eventstore.StreamID{Kind: "account", ID: "poor"}) || rejected.Version != 2 || rejected.Err != errInsufficient {
		t.Errorf("the error says %+v", rejected)
	}
	if a.Balance != 0 || a.Notes != nil || at.Version != 0 {
		t.Errorf("a rejected command returns %+v, %+v", a, at)
	}
	want(t, b.Accounts, "poor", 2, 2)
	// A rejection is not remembered: the command may succeed later.
	execute(t, b.Accounts, "poor", Deposit{{Amount: 1}}, "")
	if a, at := execute(t, b.Accounts, "poor", Withdraw{3}, "try"); a.Balance != 0 || at.Replayed || at.Version != 4 {
		t.Errorf("the command succeeds with %+v at %+v", a, at)
	}
}

func loadVersion(t *testing.T, b bank) {
	commits := []Deposit{
		{{Amount: 1, Note: "a"}},
		{{Amount: 2, Note: "b"}, {Amount: 3}, {Amount: 4, Note: "d"}},
		{{Amount: 5}, {Amount: 6, Note: "f"}},
	}
	states := []Account{{}}
	revisions := []eventstore.Revision{{}}
	for _, c := range commits {
		_, at := execute(t, b.Accounts, "versions", c, "")
		for _, e := range c {
			states = append(states, states[len(states)-1].Evolve(e))
			if b.plain { // its events do not tell where their commit ends
				at.Version = uint64(len(revisions))
			}
			revisions = append(revisions, at)
		}
	}
	last := len(states) - 1
	for version := range states {
		a, at, err := b.LoadVersion(t.Context(), "versions", uint64(version))
		if err != nil || !a.equal(states[version]) || !same(at, revisions[version]) {
			t.Errorf("version %d is %+v at %+v (%v), want %+v at %+v", version, a, at, err, states[version], revisions[version])
		}
	}
	for _, beyond := range []uint64{uint64(last) + 1, 1 << 40, ^uint64(0)} {
		if a, at, err := b.LoadVersion(t.Context(), "versions", beyond); err != nil || !a.equal(states[last]) || !same(at, revisions[last]) {
			t.Errorf("beyond the last version the account is %+v at %+v, %v", a, at, err)
		}
	}
	if a, at, err := b.LoadVersion(t.Context(), "versions, none", 3); err != nil || !a.equal(Account{}) || at.Version != 0 {
		t.Errorf("a version of no account is %+v at %+v, %v", a, at, err)
	}
}

// Forgotten is an event that the codec was not made with.
type Forgotten struct{}

func (Forgotten) EventType() string { return "account.forgotten" }
func (Forgotten) isAccountEvent()   {}

func unknownEvents(t *testing.T, b bank) {
	execute(t, b.Accounts, "strange", Deposit{{Amount: 1}}, "")
	_, _, err := b.Execute(t.Context(), "strange", decision(func(Account) ([]Event, error) { return []Event{Deposited{Amount: 1}, Forgotten{}}, nil }), nil)
	if !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("a command with an unknown event: %v", err)
	}
	want(t, b.Accounts, "strange", 1, 1)
	_, err = b.store.Append(t.Context(), eventstore.StreamID{Kind: "account", ID: "strange"}, eventstore.Any, []eventstore.EventData{{Type: "account.forgotten"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, at, err := b.Load(t.Context(), "strange")
	if !errors.Is(err, eventstore.ErrUnknownType) || a.Balance != 0 || at.Version != 0 {
		t.Errorf("an account with an unknown event is %+v at %+v, %v", a, at, err)
	}
	if _, _, err := b.Execute(t.Context(), "strange", Deposit{{Amount: 1}}, nil); !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("a command on an account with an unknown event: %v", err)
	}
}

// interrupted returns a command that withdraws all there is. The first so many
// times another client is faster.
func interrupted(t *testing.T, other *Accounts, id string, times int, saw *[]int) decision {
	return func(a Account) ([]Event, error) {
		*saw = append(*saw, a.Balance)
		if len(*saw) <= times {
			execute(t, other, id, Deposit{{Amount: 10}}, "")
		}
		return []Event{Withdrawn{Amount: a.Balance}}, nil
	}
}

func decideAgain(t *testing.T, b bank) {
	execute(t, b.Accounts, "busy", Deposit{{Amount: 1}}, "")
	var saw []int
	a, at := execute(t, b.Accounts, "busy", interrupted(t, b.other(t, nil), "busy", 3, &saw), "")
	if len(saw) != 4 || saw[0] != 1 || saw[1] != 11 || saw[2] != 21 || saw[3] != 31 {
		t.Errorf("the command decided on %d", saw)
	}
	if a.Balance != 0 || at.Version != 5 {
		t.Errorf("all is withdrawn, and the account is %+v at %+v", a, at)
	}
	want(t, b.Accounts, "busy", 0, 5)
	// What is newer may also be a reason to refuse.
	decided := 0
	_, _, err := b.Execute(t.Context(), "busy", decision(func(a Account) ([]Event, error) {
		if decided++; decided == 1 {
			execute(t, b.other(t, nil), "busy", Deposit{{Amount: 1}}, "")
		}
		if a.Balance > 0 {
			return nil, errInsufficient
		}
		return []Event{Deposited{Amount: 100}}, nil
	}), nil)
	if !errors.Is(err, errInsufficient) || decided != 2 {
		t.Errorf("decided %d times: %v", decided, err)
	}
	want(t, b.Accounts, "busy", 1, 6)
}

func giveUp(t *testing.T, b bank) {
	for id, attempts := range map[string]int{"default": 10, "one": 1, "three": 3} {
		opts := &aggregate.Options{Attempts: attempts}
		if id == "default" {
			opts = nil
		}
		var saw []int
		a, at, err := b.other(t, opts).Execute(t.Context(), id, interrupted(t, b.Accounts, id, 1000, &saw), nil)
		var conflict *eventstore.ConflictError
		if !errors.As(err, &conflict) || conflict.Stream.ID != id || conflict.Actual != uint64(attempts) {
			t.Errorf("with another writer always first: %v", err)
		}
		if len(saw) != attempts || a.Balance != 0 || at.Version != 0 {
			t.Errorf("decided on %d, want %d attempts; returned %+v at %+v", saw, attempts, a, at)
		}
		want(t, b.Accounts, id, 10*attempts, uint64(attempts))
	}
}
