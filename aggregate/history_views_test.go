package aggregate_test

import (
	"context"
	"slices"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
)

// A purse is a state of an account, however it is folded.
type purse[S any] interface {
	aggregate.State[S, Event]
	balance() int
}

func (a Account) balance() int { return a.Balance }

// double has the fields of Account and makes something else of the same events.
type double struct {
	Balance int
	Notes   []string
}

func (d double) Evolve(e Event) double {
	a := Account{Notes: d.Notes}.Evolve(e)
	return double{d.Balance + 2*a.Balance, a.Notes}
}

func (d double) balance() int { return d.Balance / 2 }

// counting has one field more than Account.
type counting struct {
	Balance int
	Notes   []string
	Events  int
}

func (c counting) Evolve(e Event) counting {
	a := Account{c.Balance, c.Notes}.Evolve(e)
	return counting{a.Balance, a.Notes, c.Events + 1}
}

func (c counting) balance() int { return c.Balance }

// A view is a repository of whatever state.
type view interface {
	load(ctx context.Context, id string) (any, eventstore.Revision, error)
	loadVersion(ctx context.Context, id string, version uint64) (any, eventstore.Revision, error)
	cached(id string) (any, eventstore.Revision, bool)
	execute(ctx context.Context, id string, q *question, commandID string) (any, eventstore.Revision, error)
	fold(events []Event) any
	Stats() aggregate.Stats
}

// views are the ways in which processes fold.
var views = []func(aggregate.Store, aggregate.Options) view{
	viewOf[Account](""), viewOf[Account]("again"), viewOf[double]("double"), viewOf[counting](""),
}

func viewOf[S purse[S]](schema string) func(aggregate.Store, aggregate.Options) view {
	return func(store aggregate.Store, opts aggregate.Options) view {
		opts.Schema = schema
		return viewed[S]{aggregate.NewRepository[S](store, "account", codec, &opts)}
	}
}

type viewed[S purse[S]] struct {
	*aggregate.Repository[S, Event]
}

func (v viewed[S]) load(ctx context.Context, id string) (any, eventstore.Revision, error) {
	s, at, err := v.Load(ctx, id)
	return s, at, err
}

func (v viewed[S]) loadVersion(ctx context.Context, id string, version uint64) (any, eventstore.Revision, error) {
	s, at, err := v.LoadVersion(ctx, id, version)
	return s, at, err
}

func (v viewed[S]) cached(id string) (any, eventstore.Revision, bool) {
	s, at, ok := v.Cached(id)
	return s, at, ok
}

func (v viewed[S]) execute(ctx context.Context, id string, q *question, commandID string) (any, eventstore.Revision, error) {
	s, at, err := v.Execute(ctx, id, asking[S]{q}, &aggregate.ExecuteOptions{CommandID: commandID})
	return s, at, err
}

func (viewed[S]) fold(events []Event) any {
	var s S
	for _, e := range events {
		s = s.Evolve(e)
	}
	return s
}

// A question is a command that any state may be asked.
type question struct {
	decide func(balance int) ([]Event, error)
	asked  any // the last state that it was
}

type asking[S purse[S]] struct{ *question }

func (a asking[S]) Decide(s S) ([]Event, error) {
	a.asked = s
	return a.decide(s.balance())
}

// An account is what the test knows of one.
type account struct {
	events  []Event
	commits []eventstore.Revision
}

func (a account) version() uint64 { return uint64(len(a.events)) }

func (a account) balance() int { return viewed[Account]{}.fold(a.events).(Account).Balance }

func (a account) last() eventstore.Revision { return a.at(a.version()) }

// at returns the commit that holds a version.
func (a account) at(version uint64) eventstore.Revision {
	for _, c := range a.commits {
		if version > 0 && version <= c.Version {
			return c
		}
	}
	return eventstore.Revision{}
}

// find returns the commit of an id, and how many commits from the end it is.
func (a account) find(commandID string) (at eventstore.Revision, depth int) {
	for i, c := range slices.Backward(a.commits) {
		if c.CommitID == commandID {
			return c, len(a.commits) - i
		}
	}
	return at, 0
}

func (a account) after(at eventstore.Revision, events []Event) account {
	return account{append(slices.Clip(a.events), events...), append(slices.Clip(a.commits), at)}
}
