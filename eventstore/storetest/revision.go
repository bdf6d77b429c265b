package storetest

import (
	"errors"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var revisionItems = []item{
	{"a revision of another stream is refused", revisionOfAnotherStream},
	{"a revision of another log is refused", revisionOfAnotherLog},
}

// wantRefused checks that a revision is not taken for one of the stream, and
// that the mistake is not taken for a damaged log.
func wantRefused(t *testing.T, store Store, id eventstore.StreamID, wrong eventstore.Revision) {
	t.Helper()
	before := head(t, store, id)
	at, err := store.Append(t.Context(), id, wrong, events("x"), nil)
	if err == nil || errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("an append to %s after %+v: %+v, %v", id, wrong, at, err)
	}
	if now, err := store.Head(t.Context(), id); err != nil || !same(now, before) {
		t.Errorf("the head of %s was %+v and is %+v, %v", id, before, now, err)
	}
	if _, err := collect(store.Read(t.Context(), id, &eventstore.ReadOptions{After: wrong})); err == nil || errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("a read of %s after %+v: %v", id, wrong, err)
	}
}

func revisionOfAnotherStream(t *testing.T, s suite) {
	log := s.log(t, "revision-of-another-stream")
	ids := []eventstore.StreamID{{Kind: "order", ID: "1"}, {Kind: "order", ID: "2"}, {Kind: "order", ID: "3"}, {Kind: "order", ID: "4"}}
	one := add(t, log, ids[0], eventstore.NoStream, events("a"), nil)
	add(t, log, ids[1], eventstore.NoStream, events("a"), nil)
	two := add(t, log, ids[1], eventstore.Any, events("b"), nil)
	wantRefused(t, log, ids[0], two)
	wantRefused(t, log, ids[1], one)
	wantRefused(t, log, ids[2], one)
	add(t, log, ids[3], eventstore.NoStream, events("a"), nil)
	wantRefused(t, log, ids[3], one)
}

// Positions of another log may be positions here too.
func revisionOfAnotherLog(t *testing.T, s suite) {
	one, other := s.log(t, "revision-one-log"), s.log(t, "revision-other-log")
	id := s.stream()
	add(t, one, id, eventstore.NoStream, events("a"), nil)
	at := add(t, other, id, eventstore.NoStream, events("a", "b"), nil)
	wantRefused(t, one, id, at)
}
