package eventstore_test

import (
	"errors"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var revisionItems = []item{
	{"a revision that was not read is refused", revisionMadeUp},
}

// wantRefused checks that a revision is not taken for one of the stream, and
// that the mistake is not taken for a damaged log.
func wantRefused(t *testing.T, store *eventstore.Store, id eventstore.StreamID, wrong eventstore.Revision) {
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

// Only what the package returned says where a stream stands: a revision has
// more to it than its exported fields.
func revisionMadeUp(t *testing.T, s site) {
	log := s.log(t, "revision-made-up", nil)
	id := stream(t)
	at := add(t, log, id, eventstore.NoStream, events("a"), nil)
	at = add(t, log, id, at, events("b"), nil)
	empty := eventstore.StreamID{Kind: "order", ID: "empty"}
	for _, wrong := range []eventstore.Revision{
		{Version: 1}, {Position: 1}, {Version: 2, Position: 2}, {Version: at.Version, Position: at.Position, CommitID: at.CommitID},
	} {
		wantRefused(t, log, id, wrong)
		wantRefused(t, log, empty, wrong)
	}
}
