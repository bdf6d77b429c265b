package aggregate_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

type clockEvent interface {
	eventstore.Typed
	isClockEvent()
}

type struck struct{ At time.Time }

func (struck) EventType() string { return "clock.struck" }
func (struck) isClockEvent()     {}

type clock struct{ Last time.Time }

func (c clock) Evolve(e clockEvent) clock {
	c.Last = e.(struck).At
	return c
}

type strike struct {
	at    time.Time
	fails error
	asked *int
}

func (s strike) Decide(clock) ([]clockEvent, error) {
	*s.asked++
	if s.fails != nil {
		return nil, s.fails
	}
	return []clockEvent{struck{s.at}}, nil
}

func clocks(t *testing.T) *aggregate.Repository[clock, clockEvent] {
	return aggregate.NewRepository[clock](testutil.Store(t), "clock", eventstore.JSON[clockEvent](struck{}), nil)
}

// A refusal is final, whatever the error that Decide returns would mean if the
// store had returned it.
func TestRefusalIsFinal(t *testing.T) {
	t.Parallel()
	repository := clocks(t)
	for _, refusal := range []error{
		fmt.Errorf("another clock: %w", eventstore.ErrConflict),
		&eventstore.ConflictError{Expected: eventstore.Any},
		&eventstore.CommitIDReusedError{Stored: eventstore.Revision{Version: 1}},
	} {
		asked := 0
		_, _, err := repository.Execute(t.Context(), "1", strike{fails: refusal, asked: &asked}, nil)
		var rejected *aggregate.RejectedError
		if !errors.As(err, &rejected) || !errors.Is(err, refusal) || asked != 1 {
			t.Errorf("%v: asked %d times, %v", refusal, asked, err)
		}
	}
}

// The state after a command is what a load returns, also where the stored form
// of an event does not keep all of it.
func TestStateIsWhatALoadReturns(t *testing.T) {
	t.Parallel()
	repository, asked := clocks(t), 0
	at := time.Date(2025, time.March, 1, 12, 0, 0, 5, time.FixedZone("here", 3600))
	after, _, err := repository.Execute(t.Context(), "1", strike{at: at, asked: &asked}, nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded, _, err := repository.Load(t.Context(), "1")
	if err != nil || after.Last.String() != loaded.Last.String() || !after.Last.Equal(at) {
		t.Errorf("%v after the command, %v loaded, %v", after.Last, loaded.Last, err)
	}
}
