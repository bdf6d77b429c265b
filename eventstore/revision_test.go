package eventstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var revisionItems = []item{
	{"a revision that was not read is refused", revisionMadeUp},
	{"a revision that was kept elsewhere is as good as one that was read", revisionKept},
	{"a recalled revision that the log does not reach is refused at once", revisionAhead},
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

// keptElsewhere returns the revision as it comes back from where it was kept.
func keptElsewhere(t *testing.T, at eventstore.Revision) (back eventstore.Revision) {
	t.Helper()
	data, err := at.MarshalBinary()
	if err == nil {
		err = back.UnmarshalBinary(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !same(back, at) {
		t.Fatalf("%+v comes back as %+v", at, back)
	}
	return back
}

// Reads and appends go on from a revision that was kept, of every length of the
// stream for which a commit names others.
func revisionKept(t *testing.T, s site) {
	log, id := s.log(t, "revision-kept", nil), stream(t)
	var ats []eventstore.Revision
	at := keptElsewhere(t, eventstore.Revision{})
	for i := range 150 {
		at = keptElsewhere(t, add(t, log, id, at, events(fmt.Sprint(i)), nil))
		ats = append(ats, at)
	}
	for i, at := range ats {
		all := read(t, log, id, &eventstore.ReadOptions{After: at, Recalled: true})
		if len(all) != len(ats)-i-1 {
			t.Errorf("after %v there are %d events", at, len(all))
		}
	}
	made := eventstore.Revision{Version: 3, Position: 9, CommitID: "elsewhere"}
	if keptElsewhere(t, made) != made {
		t.Error("a revision of another store does not come back")
	}
}

// One log has another history than the other up to the same position.
func revisionAhead(t *testing.T, s site) {
	log, other, id := s.log(t, "revision-ahead", nil), s.log(t, "revision-behind", nil), stream(t)
	at := add(t, log, id, eventstore.NoStream, events("a"), nil)
	wantRefused(t, other, id, keptElsewhere(t, at))

	ahead := keptElsewhere(t, eventstore.Moved(other, add(t, log, id, at, events("b"), nil)))
	start := time.Now()
	for _, at := range []eventstore.Revision{ahead, keptElsewhere(t, eventstore.Moved(other, at))} {
		all, err := collect(other.Read(t.Context(), id, &eventstore.ReadOptions{After: at, Recalled: true}))
		if !errors.Is(err, eventstore.ErrCorrupt) || len(all) > 0 {
			t.Errorf("a stream that has not come to %v: %d events, %v", at, len(all), err)
		}
		add(t, other, id, eventstore.Any, events("c", "d"), nil)
	}
	if waited := time.Since(start); waited > eventstore.Staleness/2 {
		t.Errorf("it took %v", waited)
	}
}

// What is no revision's form is refused, and leaves the revision as it was.
func TestRevisionForm(t *testing.T) {
	t.Parallel()
	store := testutil.Store(t)
	id := eventstore.StreamID{Kind: "order", ID: "1"}
	var at eventstore.Revision
	for range 20 {
		at = add(t, store, id, at, events("x"), nil)
	}
	good, err := at.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	longer := append(slices.Clone(good), 0)
	for i := range len(good) {
		back := at
		if err := back.UnmarshalBinary(good[:i]); err == nil || back != at {
			t.Errorf("of %d bytes the first %d are a revision: %+v", len(good), i, back)
		}
	}
	for _, wrong := range [][]byte{longer, nil, {1}, {2, 0, 0, 0, 0}, {1, 0, 0, 0, 0x80, 0}, {1, 1, 1, 0, 2}} {
		if err := new(eventstore.Revision).UnmarshalBinary(wrong); err == nil {
			t.Errorf("%x is a revision", wrong)
		}
	}
	if err := new(eventstore.Revision).UnmarshalBinary([]byte{1, 0, 0, 0, 0}); err != nil {
		t.Errorf("the zero revision: %v", err)
	}
}
