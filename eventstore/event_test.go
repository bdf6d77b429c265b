package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var eventItems = []item{
	{"3 an event has an id of its own and its commit's revision", eventIDs},
	{"9 a new commit id is a UUID, and the recorded time the server's", filledIn},
	{"32 34 what is refused at once is not sent", refusedUnsent},
}

func eventIDs(t *testing.T, s site) {
	id := stream(t)
	one := add(t, s.shared, id, eventstore.NoStream, events("a", "b", "b"), named("one"))
	two := add(t, s.shared, id, one, events("d"), named("two"))
	for i, e := range history(t, s.shared, id) {
		at, want := one, fmt.Sprint("one#", i+1)
		if i == 3 {
			at, want = two, "two"
		}
		if e.ID() != want || !same(e.Revision(), at) {
			t.Errorf("event %d is %q and leads to %+v, want %q and %+v", i, e.ID(), e.Revision(), want, at)
		}
	}
}

func filledIn(t *testing.T, s site) {
	before := time.Now()
	add(t, s.shared, stream(t), eventstore.NoStream, events("a"), nil)
	after := time.Now()
	e := history(t, s.shared, stream(t))[0]
	if _, err := uuid.Parse(e.CommitID); err != nil {
		t.Errorf("a commit without an id got %q: %v", e.CommitID, err)
	}
	if when := e.Recorded; when.Before(before.Truncate(0)) || when.After(after.Truncate(0)) {
		t.Errorf("recorded at %v, appended between %v and %v", when, before, after)
	}
}

func refusedUnsent(t *testing.T, s site) {
	nc := testutil.Connect(t, s)
	store := s.open(t, nc, s.shared.Name(), nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.quiet(t, store)
	sent := nc.Stats().OutMsgs
	fine := stream(t)
	for what, refused := range map[string]func(eventstore.Expectation) error{
		"a context that has ended": func(expected eventstore.Expectation) error {
			_, err := store.Append(ended, fine, expected, events("a"), nil)
			return err
		},
		"no events": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), fine, expected, nil, nil)
			return err
		},
		"a kind": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), eventstore.StreamID{Kind: "a.b", ID: "1"}, expected, events("a"), nil)
			return err
		},
		"an id": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), eventstore.StreamID{Kind: "order", ID: strings.Repeat("é", 100)}, expected, events("a"), nil)
			return err
		},
		"a type": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), fine, expected, []eventstore.EventData{{Type: "a\r\n"}}, nil)
			return err
		},
		"a metadata key": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), fine, expected, events("a"), &eventstore.AppendOptions{Metadata: map[string]string{"a:b": ""}})
			return err
		},
		"a commit id": func(expected eventstore.Expectation) error {
			_, err := store.Append(t.Context(), fine, expected, events("a"), named("a\nb"))
			return err
		},
		"a stream to read": func(eventstore.Expectation) error {
			_, err := collect(store.Read(t.Context(), eventstore.StreamID{Kind: "*", ID: "1"}, nil))
			return err
		},
		"a log": func(eventstore.Expectation) error {
			var last error
			for _, log := range []string{"", "a.b", "*", ">", "a b", "é", "a\r\n", "_INBOX", "_", "live", "timers", strings.Repeat("x", 65)} {
				if _, last = eventstore.Open(t.Context(), nc, log, nil); last == nil {
					t.Errorf("a log named %q was opened", log)
				}
			}
			return last
		},
	} {
		for _, expected := range []eventstore.Expectation{eventstore.NoStream, eventstore.Any, eventstore.Version(1)} {
			if err := refused(expected); !errors.Is(err, eventstore.ErrInvalid) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s that cannot be, expecting %v: %v", what, expected, err)
			}
		}
	}
	if now := nc.Stats().OutMsgs; now != sent {
		t.Errorf("%d messages were sent", now-sent)
	}
}

// An event that another store made has the revision that its fields show.
func TestRevisionOfForeignEvent(t *testing.T) {
	t.Parallel()
	e := eventstore.Event{Version: 3, Position: 7, CommitID: "c"}
	if got, want := e.Revision(), (eventstore.Revision{Version: 3, Position: 7, CommitID: "c"}); got != want {
		t.Errorf("its revision is %+v, want %+v", got, want)
	}
	if e.ID() != "c" {
		t.Errorf("its id is %q", e.ID())
	}
	if at := (eventstore.Event{}).Revision(); at != (eventstore.Revision{}) {
		t.Errorf("the zero event has the revision %+v", at)
	}
}
