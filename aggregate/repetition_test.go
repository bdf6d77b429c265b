package aggregate_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

// shortWindow is the shortest duplicate window that the server accepts.
const shortWindow = 100 * time.Millisecond

// A delivered is a command that was executed and may be delivered again.
type delivered struct {
	account string
	command aggregate.Command[Account, Event]
	state   Account
	at      eventstore.Revision
}

const commandID = "the command"

// deliver executes commands, each on an account of its own. Asked a second
// time, they decide for other events, for none, for the same, or refuse.
func deliver(t *testing.T, b bank) (all []delivered) {
	t.Helper()
	double := decision(func(a Account) ([]Event, error) { return []Event{Deposited{Amount: a.Balance}}, nil })
	once := decision(func(a Account) ([]Event, error) {
		if len(a.Notes) > 0 {
			return nil, nil
		}
		return []Event{Deposited{Amount: 1, Note: "opened"}, Deposited{Amount: 1}}, nil
	})
	for i, command := range []aggregate.Command[Account, Event]{double, Deposit{{Amount: 1}, {Amount: 2}}, Withdraw{10}, once} {
		d := delivered{account: fmt.Sprint(t.Name(), " ", i), command: command}
		execute(t, b.Accounts, d.account, Deposit{{Amount: 15}}, "")
		if d.state, d.at = execute(t, b.Accounts, d.account, command, commandID); d.at.Replayed || d.at.CommitID != commandID {
			t.Fatalf("%s: executed for the first time at %+v", d.account, d.at)
		}
		all = append(all, d)
	}
	return all
}

// wantAnswers delivers the commands again.
func wantAnswers(t *testing.T, accounts *Accounts, all []delivered) {
	t.Helper()
	for _, d := range all {
		before, head, err := accounts.Load(t.Context(), d.account)
		if err != nil {
			t.Fatal(err)
		}
		state, at := execute(t, accounts, d.account, d.command, commandID)
		if !state.equal(d.state) || !same(at, d.at) || !at.Replayed {
			t.Errorf("%s: the answer was %+v at %+v, and now is %+v at %+v", d.account, d.state, d.at, state, at)
		}
		want(t, accounts, d.account, before.Balance, head.Version)
	}
}

// others appends other commits.
func others(t *testing.T, b bank, all []delivered, n int) {
	t.Helper()
	data, err := codec.Encode(Deposited{Amount: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		_, at, err := b.Load(t.Context(), d.account)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if at, err = b.store.Append(t.Context(), eventstore.StreamID{Kind: "account", ID: d.account}, at, []eventstore.EventData{data}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A command that is delivered again answers as the first time, whatever it
// would decide now.
func redelivered(t *testing.T, b bank) {
	all := deliver(t, b)
	wantAnswers(t, b.Accounts, all)
	others(t, b, all, 1)
	wantAnswers(t, b.Accounts, all)
	wantAnswers(t, b.other(t, nil), all)
}

// It does so without the help of the server's duplicate window.
func redeliveredLate(t *testing.T, b bank) {
	b = b.open(t, "late", shortWindow, nil)
	all := deliver(t, b)
	passWindow(t, b.on)
	wantAnswers(t, b.Accounts, all)
	others(t, b, all, eventstore.Remembered-1)
	passWindow(t, b.on)
	wantAnswers(t, b.Accounts, all)
	wantAnswers(t, b.other(t, nil), all)
}

// Where the aggregate has forgotten the command, the duplicate window still
// knows it, if the command decides for any events.
func forgotten(t *testing.T, b bank) {
	all := deliver(t, b)[:3]
	others(t, b, all, eventstore.Remembered+5)
	wantAnswers(t, b.Accounts, all)
}

// passWindow waits until a short duplicate window is over for everything that
// was stored before the call.
func passWindow(t *testing.T, on testutil.Connector) {
	t.Helper()
	js, err := jetstream.New(testutil.Connect(t, on))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "windows", Subjects: []string{"windows"}, Duplicates: shortWindow})
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(time.Now().UnixNano())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for accepted := 0; accepted < 3; { // the id was forgotten twice
		ack, err := js.Publish(t.Context(), "windows", nil, jetstream.WithMsgID(id))
		if err != nil {
			t.Fatal(err)
		}
		if !ack.Duplicate {
			accepted++
		}
		<-tick.C
	}
}

func concurrentCommands(t *testing.T, b bank) {
	const clients, each = 16, 10
	id := t.Name()
	opts := &aggregate.Options{Attempts: 1000}
	accounts := []*Accounts{b.other(t, opts), b.other(t, opts)}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				note := fmt.Sprint(i, " of ", c)
				a, at, err := accounts[c%2].Execute(t.Context(), id, Deposit{{Amount: 1, Note: note}}, &aggregate.ExecuteOptions{CommandID: note})
				if err != nil || at.Replayed || a.Balance != int(at.Version) || a.Notes[len(a.Notes)-1] != note {
					t.Errorf("%s: %+v at %+v, %v", note, a, at, err)
				}
			}
		})
	}
	wg.Wait()
	want(t, b.Accounts, id, clients*each, clients*each)
	a, _, err := b.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(a.Notes)
	if applied := len(slices.Compact(a.Notes)); applied != clients*each {
		t.Errorf("%d of %d commands were applied", applied, clients*each)
	}
}

func concurrentRedelivery(t *testing.T, b bank) {
	const clients, rounds = 16, 10
	id := t.Name()
	opts := &aggregate.Options{Attempts: 1000}
	accounts := []*Accounts{b.other(t, opts), b.other(t, opts)}
	for round := range rounds {
		var wg sync.WaitGroup
		answers := make([]eventstore.Revision, clients)
		for c := range clients {
			wg.Go(func() {
				a, at, err := accounts[c%2].Execute(t.Context(), id, Deposit{{Amount: 1}, {Amount: 1}}, &aggregate.ExecuteOptions{CommandID: fmt.Sprint(round)})
				if err != nil || a.Balance != 2*(round+1) || at.Version != uint64(a.Balance) {
					t.Errorf("round %d: %+v at %+v, %v", round, a, at, err)
				}
				answers[c] = at
			})
		}
		wg.Wait()
		first := 0
		for _, at := range answers {
			if !same(at, answers[0]) {
				t.Errorf("round %d: the answers are %+v and %+v", round, answers[0], at)
			}
			if !at.Replayed {
				first++
			}
		}
		if first != 1 {
			t.Errorf("round %d: %d answers are of the first time", round, first)
		}
	}
	want(t, b.Accounts, id, 2*rounds, 2*rounds)
}
