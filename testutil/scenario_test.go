package testutil_test

import (
	"errors"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

type event interface {
	eventstore.Typed
	doorEvent()
}

type opened struct{ By string }

type closed struct{}

func (opened) EventType() string { return "door.opened" }
func (closed) EventType() string { return "door.closed" }
func (opened) doorEvent()        {}
func (closed) doorEvent()        {}

var codec = eventstore.JSON[event](opened{}, closed{})

type door struct{ Open bool }

func (d door) Evolve(e event) door {
	_, d.Open = e.(opened)
	return d
}

// guests changes what the state before holds, from the second event on.
type guests struct{ names map[string]bool }

func (g guests) Evolve(e event) guests {
	if g.names == nil {
		g.names = make(map[string]bool)
	}
	if o, ok := e.(opened); ok {
		g.names[o.By] = true
	}
	return g
}

// visits appends to what the state before holds.
type visits struct{ by []string }

func (v visits) Evolve(event) visits { return visits{append(v.by, "again")} }

type open struct{ By string }

var errOpen = errors.New("the door is open")

func (c open) Decide(d door) ([]event, error) {
	if d.Open {
		return nil, errOpen
	}
	return []event{opened(c)}, nil
}

func TestScenario(t *testing.T) {
	t.Parallel()
	testutil.Scenario[door](t, codec).Given(opened{By: "ann"}, closed{}).
		When(open{By: "bob"}).
		Then(opened{By: "bob"}).
		When(open{By: "eve"}).
		ThenRejected(errOpen)
}

// A scenario that does not hold must fail its test.
func TestScenarioFails(t *testing.T) {
	t.Parallel()
	for name, scenario := range map[string]func(testing.TB){
		"other events": func(t testing.TB) { testutil.Scenario[door](t, codec).When(open{By: "bob"}).Then(closed{}) },
		"no events":    func(t testing.TB) { testutil.Scenario[door](t, codec).When(open{By: "bob"}).Then() },
		"not rejected": func(t testing.TB) { testutil.Scenario[door](t, codec).When(open{}).ThenRejected(errOpen) },
		"rejected":     func(t testing.TB) { testutil.Scenario[door](t, codec).Given(opened{}).When(open{}).Then(opened{}) },
		"other reason": func(t testing.TB) {
			testutil.Scenario[door](t, codec).Given(opened{}).When(open{}).ThenRejected(errors.ErrUnsupported)
		},
		"unknown to codec": func(t testing.TB) { testutil.Scenario[door](t, eventstore.JSON[event](closed{})).Given(opened{}) },
		"earlier state changed": func(t testing.TB) {
			testutil.Scenario[guests](t, codec).Given(opened{By: "ann"}, opened{By: "bob"})
		},
		"appended to an earlier state": func(t testing.TB) {
			testutil.Scenario[visits](t, codec).Given(opened{}, opened{}, opened{}, opened{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !fails(t, scenario) {
				t.Error("the scenario passed")
			}
		})
	}
}

// fails reports whether f ends its test as failed.
func fails(t *testing.T, f func(testing.TB)) (failed bool) {
	type ended struct{}
	defer func() {
		if r := recover(); r != nil && r != (ended{}) {
			panic(r)
		}
	}()
	f(&recorder{TB: t, end: func() { failed = true; panic(ended{}) }})
	return false
}

type recorder struct {
	testing.TB
	end func()
}

func (r *recorder) Fatalf(string, ...any) { r.end() }
