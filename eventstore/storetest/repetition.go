package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var repetitionItems = []item{
	{"21 a repeated commit is not stored again", repeatAtOnce},
	{"21 a repeated commit after others", repeatAfterOthers},
	{"21 22 a commit repeated by many at once is stored once", repeatTogether},
	{"23 a commit id with other events is refused", reuseOfID},
	{"24 the same commit id on another stream is another commit", sameIDElsewhere},
	{"25 the same event twice in a commit is two events", sameEventTwice},
}

// A stored is an append that was made and may be made again.
type stored struct {
	id       eventstore.StreamID
	expected eventstore.Expectation
	events   []eventstore.EventData
	at       eventstore.Revision
}

const storedID = "the one"

func (a stored) append(t *testing.T, store Store) eventstore.Revision {
	t.Helper()
	return add(t, store, a.id, a.expected, a.events, named(storedID))
}

// storeEach makes one append with each expectation, each to a stream of its own.
func (s suite) storeEach(t *testing.T, store Store) []stored {
	t.Helper()
	var all []stored
	make := func(name string, first bool, expected eventstore.Expectation, texts ...string) {
		t.Helper()
		a := stored{id: s.stream(), expected: expected, events: events(texts...)}
		a.id.ID += " " + name
		if first {
			at := add(t, store, a.id, eventstore.NoStream, events("first"), nil)
			if expected == nil {
				a.expected = at
			}
		}
		if a.at = a.append(t, store); a.at.Replayed || a.at.CommitID != storedID {
			t.Fatalf("%s: appended for the first time at %+v", a.id, a.at)
		}
		all = append(all, a)
	}
	make("after a revision", true, nil, "a")
	make("of several, after a revision", true, nil, "a", "b", "c")
	make("after no revision", false, eventstore.Revision{}, "a", "b")
	make("after a version", true, eventstore.Version(1), "a")
	make("after version 0", false, eventstore.Version(0), "a")
	make("on no stream", false, eventstore.NoStream, "a")
	make("at any version", true, eventstore.Any, "a")
	make("at any version, of a new stream", false, eventstore.Any, "a", "b")
	make("where the stream exists", true, eventstore.Exists, "a", "b", "c")
	return all
}

// wantReplays makes the appends again. They must answer as the first time and
// leave the log as it is.
func wantReplays(t *testing.T, store Store, all []stored) {
	t.Helper()
	for _, a := range all {
		before := texts(history(t, store, a.id))
		if at := a.append(t, store); !same(at, a.at) || !at.Replayed {
			t.Errorf("%s: appended at %+v, and the second time at %+v", a.id, a.at, at)
		}
		wantTexts(t, store, a.id, before...)
	}
}

// others appends commits to the streams.
func others(t *testing.T, store Store, all []stored, n int) {
	t.Helper()
	for _, a := range all {
		at := head(t, store, a.id)
		for i := range n {
			at = add(t, store, a.id, at, events(fmt.Sprint("other ", i)), nil)
		}
	}
}

func repeatAtOnce(t *testing.T, s suite) {
	log := s.log(t, "repeat-at-once")
	all := s.storeEach(t, log)
	wantReplays(t, log, all)
	wantReplays(t, s.log(t, "repeat-at-once"), all)
	// Time and metadata are those of the first attempt.
	a := all[0]
	again, err := log.Append(t.Context(), a.id, a.expected, a.events, &eventstore.AppendOptions{
		CommitID: storedID, Time: time.Unix(1, 0), Metadata: map[string]string{"attempt": "2"},
	})
	if err != nil || !same(again, a.at) || !again.Replayed {
		t.Errorf("with another time and metadata: %+v, %v", again, err)
	}
	if position, err := log.Position(t.Context()); err != nil || position != all[len(all)-1].at.Position {
		t.Errorf("the log is at position %d (%v) after repetitions only", position, err)
	}
}

func repeatAfterOthers(t *testing.T, s suite) {
	log := s.log(t, "repeat-after-others")
	all := s.storeEach(t, log)
	others(t, log, all, 3)
	wantReplays(t, log, all)
	others(t, log, all, eventstore.Remembered-1-3)
	wantReplays(t, log, all)
	// These are found however old they are.
	guarded := slices.DeleteFunc(all, func(a stored) bool { return a.expected == eventstore.Any || a.expected == eventstore.Exists })
	others(t, log, guarded, 100)
	wantReplays(t, log, guarded)
}

// A message that is delivered to several consumers makes each of them append.
func repeatTogether(t *testing.T, s suite) {
	const repeats, rounds = 6, 20
	stores := []Store{s.client(t), s.client(t)}
	id := s.stream()
	at := add(t, s.shared, id, eventstore.NoStream, events("first"), nil)
	for round := range rounds {
		data, commit := events(fmt.Sprint(round, "a"), fmt.Sprint(round, "b")), fmt.Sprint("commit ", round)
		expected := []eventstore.Expectation{at, eventstore.Version(at.Version), eventstore.Any, eventstore.Exists}[round%4]
		got := make([]eventstore.Revision, repeats)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = stores[i%2].Append(t.Context(), id, expected, data, named(commit)); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		first := 0
		for _, r := range got {
			if r.Version != at.Version+2 || r.CommitID != commit || !same(r, got[0]) {
				t.Fatalf("round %d leads from %+v to %+v", round, at, got)
			}
			if !r.Replayed {
				first++
			}
		}
		if first != 1 {
			t.Errorf("round %d: %d appends say that they were the first", round, first)
		}
		at = got[0]
	}
	if all := history(t, s.shared, id); len(all) != 1+2*rounds {
		t.Errorf("%d rounds left %d events", rounds, len(all))
	}
}

func reuseOfID(t *testing.T, s suite) {
	log := s.log(t, "reuse-of-id")
	id := s.stream()
	first := add(t, log, id, eventstore.NoStream, events("first"), nil)
	at := add(t, log, id, first, events("a", "b"), named("taken"))
	last := add(t, log, id, at, events("last"), nil)
	other := events("a", "b")
	other[1].ContentType = "text/html"
	typed := events("a", "b")
	typed[0].Type = "renamed"
	for _, data := range [][]eventstore.EventData{events("b", "c"), events("a", "c"), events("a"), events("a", "b", "c"), events("b", "a"), events("a\nb"), other, typed} {
		for _, expected := range []eventstore.Expectation{first, eventstore.Version(1), last, eventstore.Any, eventstore.Exists} {
			_, err := log.Append(t.Context(), id, expected, data, named("taken"))
			var reused *eventstore.CommitIDReusedError
			if !errors.As(err, &reused) || !errors.Is(err, eventstore.ErrCommitIDReused) {
				t.Errorf("other events %q with a taken id, expecting %v: %v", data, expected, err)
			} else if reused.CommitID != "taken" || reused.Stream != id || !same(reused.Stored, at) {
				t.Errorf("the id stands at %+v, and the error says %+v", at, reused)
			}
		}
	}
	wantTexts(t, log, id, "first", "a", "b", "last")
	if position, err := log.Position(t.Context()); err != nil || position != last.Position {
		t.Errorf("the log went on from position %d to %d (%v)", last.Position, position, err)
	}
}

func sameIDElsewhere(t *testing.T, s suite) {
	one := s.stream()
	elsewhere := []eventstore.StreamID{
		{Kind: one.Kind, ID: one.ID + "2"}, {Kind: one.Kind + "2", ID: one.ID}, {Kind: one.Kind, ID: "." + one.ID},
	}
	add(t, s.shared, one, eventstore.NoStream, events("a"), named("shared"))
	for _, id := range elsewhere {
		if at := add(t, s.shared, id, eventstore.NoStream, events("a"), named("shared")); at.Replayed || at.Version != 1 {
			t.Errorf("the first event of %s is at %+v", id, at)
		}
		wantTexts(t, s.shared, id, "a")
	}
	other := s.log(t, "same-id-elsewhere")
	if at := add(t, other, one, eventstore.NoStream, events("a"), named("shared")); at.Replayed || at.Version != 1 {
		t.Errorf("the first event of another log is at %+v", at)
	}
	wantTexts(t, s.shared, one, "a")
}

// An event has no id of its own that the caller gives. So giving the same event
// twice is not an error: it happened twice.
func sameEventTwice(t *testing.T, s suite) {
	id := s.stream()
	twice := events("a", "a")
	twice[1] = twice[0]
	add(t, s.shared, id, eventstore.NoStream, twice, nil)
	wantTexts(t, s.shared, id, "a", "a")
}
