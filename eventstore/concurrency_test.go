package eventstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var concurrencyItems = []item{
	{"19 a foreign message is never appended after", foreignIsNeverPassed},
}

// Something other than this package publishes to the subject of a stream. The
// log is damaged then; no append comes after the damage.
func foreignIsNeverPassed(t *testing.T, s site) {
	const name = "foreign"
	store := s.open(t, testutil.Connect(t, s), name, nil) // not verified: it would not pass
	js := s.jetStream(t)
	foreign := func(id string) uint64 {
		ack, err := js.Publish(t.Context(), name+".order."+id, []byte("anything"))
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}

	known := eventstore.StreamID{Kind: "order", ID: "known"}
	at := add(t, store, known, eventstore.NoStream, events("a"), nil)
	last := foreign("known")
	for _, expected := range []eventstore.Expectation{at, eventstore.Version(1), eventstore.Version(2), eventstore.NoStream, eventstore.Any, eventstore.Exists} {
		if _, err := store.Append(t.Context(), known, expected, events("x"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("an append that expects %v after a foreign message: %v", expected, err)
		}
	}
	if position, err := store.Position(t.Context()); err != nil || position != last {
		t.Errorf("the log went on from position %d to %d (%v)", last, position, err)
	}

	const rounds = 500
	passed := 0
	for round := range rounds {
		id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint("new-", round)}
		var wg sync.WaitGroup
		var at eventstore.Revision
		var err error
		wg.Go(func() { at, err = store.Append(t.Context(), id, eventstore.NoStream, events("x"), nil) })
		position := foreign(id.ID)
		wg.Wait()
		switch {
		case err == nil && at.Position > position:
			t.Fatalf("an append at %d succeeded after the foreign message at %d", at.Position, position)
		case err == nil:
			passed++
		case !errors.Is(err, eventstore.ErrCorrupt):
			t.Fatalf("an append beside a foreign message: %v", err)
		}
	}
	t.Logf("%d of %d appends were before the foreign message", passed, rounds)
}
