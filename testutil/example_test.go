package testutil_test

import (
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/testutil"
)

// In a test, t is its argument. The door of these examples and its events are
// in scenario_test.go.
var t *testing.T

// A decider is tested without a server.
func ExampleScenario() {
	testutil.Scenario[door](t, codec).
		Given(opened{By: "ann"}).
		When(open{By: "bob"}).
		ThenRejected(errOpen)
}

// A repository is tested on a real server, which ends with the test.
func ExampleStore() {
	doors := aggregate.NewRepository[door](testutil.Store(t), "door", codec, nil)
	state, at, err := doors.Execute(t.Context(), "front", open{By: "bob"}, nil)
	if err != nil || !state.Open || at.Version != 1 {
		t.Errorf("the door is %+v at %v, %v", state, at, err)
	}
}

// The same test on three nodes.
func ExampleOpen() {
	store := testutil.Open(t, testutil.Cluster(t), nil)
	doors := aggregate.NewRepository[door](store, "door", codec, nil)
	if _, _, err := doors.Load(t.Context(), "front"); err != nil {
		t.Error(err)
	}
}
