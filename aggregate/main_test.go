package aggregate_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		killChild(dir, os.Getenv(childLife)) // never returns
	}
	goleak.VerifyTestMain(m)
}

// Event is what happens to an account.
type Event interface {
	eventstore.Typed
	isAccountEvent()
}

type Deposited struct {
	Amount int
	Note   string `json:",omitempty"`
}

type Withdrawn struct{ Amount int }

func (Deposited) EventType() string { return "account.deposited" }
func (Withdrawn) EventType() string { return "account.withdrawn" }
func (Deposited) isAccountEvent()   {}
func (Withdrawn) isAccountEvent()   {}

var codec = eventstore.JSON[Event](Deposited{}, Withdrawn{})

// Account is the state: the balance and the notes of all deposits.
type Account struct {
	Balance int
	Notes   []string
}

func (a Account) Evolve(e Event) Account {
	switch e := e.(type) {
	case Deposited:
		a.Balance += e.Amount
		if e.Note != "" {
			a.Notes = append(slices.Clip(a.Notes), e.Note)
		}
	case Withdrawn:
		a.Balance -= e.Amount
	}
	return a
}

func (a Account) equal(b Account) bool {
	return a.Balance == b.Balance && slices.Equal(a.Notes, b.Notes)
}

// Deposit pays in amounts, as one event each.
type Deposit []Deposited

func (d Deposit) Decide(Account) (events []Event, err error) {
	for _, e := range d {
		events = append(events, e)
	}
	return events, nil
}

type Withdraw struct{ Amount int }

var errInsufficient = errors.New("not that much money there")

func (w Withdraw) Decide(a Account) ([]Event, error) {
	if a.Balance < w.Amount {
		return nil, errInsufficient
	}
	return []Event{Withdrawn(w)}, nil
}

// A decision is a command made of a function, so that a test sees what it is
// asked and can let another writer in meanwhile.
type decision func(Account) ([]Event, error)

func (d decision) Decide(a Account) ([]Event, error) { return d(a) }

type Accounts = aggregate.Repository[Account, Event]

// A bank is the accounts of one log.
type bank struct {
	*Accounts
	store    aggregate.Store
	log      string
	on       testutil.Connector
	replicas int
	plain    bool
}

// open returns the accounts of a log, as one more client has them.
func (b bank) open(t *testing.T, log string, window time.Duration, opts *aggregate.Options) bank {
	t.Helper()
	store, err := eventstore.Open(t.Context(), testutil.Connect(t, b.on), log, &eventstore.Options{Replicas: b.replicas, DuplicateWindow: window})
	if err != nil {
		t.Fatal(err)
	}
	b.log, b.store = log, store
	if b.plain {
		b.store = plain{store}
	}
	b.Accounts = aggregate.NewRepository[Account](b.store, "account", codec, opts)
	return b
}

// other returns the same accounts as another client has them.
func (b bank) other(t *testing.T, opts *aggregate.Options) *Accounts {
	t.Helper()
	return b.open(t, b.log, 0, opts).Accounts
}

// TestRepository runs everything on one node, on three, and on another store.
// The tests share a log, which is verified at the end, and each has accounts of
// its own.
func TestRepository(t *testing.T) {
	t.Parallel()
	for where, b := range map[string]bank{"on 1": {replicas: 1}, "on 3": {replicas: 3}, "on another store": {replicas: 1, plain: true}} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			if b.replicas == 1 {
				b.on = testutil.Server(t)
			} else {
				b.on = testutil.Cluster(t)
			}
			b := b.open(t, testutil.Open(t, b.on, &eventstore.Options{Replicas: b.replicas}).Name(), 0, nil)
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, b)
				})
			}
		})
	}
}

var tests = map[string]func(*testing.T, bank){
	"an account without events is zero":             func(t *testing.T, b bank) { want(t, b.Accounts, "new", 0, 0) },
	"a command changes the state":                   commandChanges,
	"a command that does nothing":                   commandDoesNothing,
	"a command that is rejected":                    commandRejected,
	"any version can be loaded":                     loadVersion,
	"events that the codec does not know":           unknownEvents,
	"a conflict lets the command decide again":      decideAgain,
	"after so many attempts a conflict is returned": giveUp,
	"a redelivered command":                         redelivered,
	"a redelivered command past the window":         redeliveredLate,
	"a redelivered command that is forgotten":       forgotten,
	"commands of many clients are all applied once": concurrentCommands,
	"a command delivered to many is applied once":   concurrentRedelivery,
	"a command for a version":                       conditional,
	"a command for a version on an old state":       conditionalOnOldState,
	"a command for a version is delivered again":    conditionalAgain,
	"of commands for a version one wins":            conditionalRace,
	"a command for a version, delivered to many":    conditionalRedelivery,
}

// execute executes where nothing may go wrong.
func execute(t *testing.T, accounts *Accounts, id string, c aggregate.Command[Account, Event], commandID string) (Account, eventstore.Revision) {
	t.Helper()
	a, at, err := accounts.Execute(t.Context(), id, c, &aggregate.ExecuteOptions{CommandID: commandID})
	if err != nil {
		t.Fatal(err)
	}
	return a, at
}

// want checks where an account stands.
func want(t *testing.T, accounts *Accounts, id string, balance int, version uint64) {
	t.Helper()
	a, at, err := accounts.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if a.Balance != balance || at.Version != version {
		t.Errorf("account %s has %d at version %d, want %d at %d", id, a.Balance, at.Version, balance, version)
	}
}

func same(a, b eventstore.Revision) bool {
	return a.Version == b.Version && a.Position == b.Position && a.CommitID == b.CommitID
}
