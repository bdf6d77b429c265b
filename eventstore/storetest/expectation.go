package storetest

import (
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var expectationItems = []item{
	{"10 the exact version", expectExact},
	{"11 a wrong version is a conflict", expectWrong},
	{"12 a version above the head is a conflict", expectAbove},
	{"13 no stream", expectNoStream},
	{"14 stream exists", expectExists},
	{"15 any version", expectAny},
	{"20 a conflict leaves nothing behind", conflictLeavesNothing},
}

func expectExact(t *testing.T, s suite) {
	id := s.stream()
	at := add(t, s.shared, id, eventstore.Version(0), events("a", "b"), nil)
	at = add(t, s.shared, id, at, events("c"), nil)
	if at.Version != 3 {
		t.Errorf("the third event is at %+v", at)
	}
	at = add(t, s.shared, id, eventstore.Version(3), events("d", "e"), nil)
	add(t, s.shared, id, at, events("f"), nil)
	at = add(t, s.shared, id, head(t, s.shared, id), events("g"), nil)
	all := history(t, s.shared, id)
	add(t, s.shared, id, all[len(all)-1].Revision(), events("h"), nil)
	if at.Version != 7 {
		t.Errorf("the seventh event is at %+v", at)
	}
	wantTexts(t, s.shared, id, "a", "b", "c", "d", "e", "f", "g", "h")
}

func expectWrong(t *testing.T, s suite) {
	id := s.stream()
	one := add(t, s.shared, id, eventstore.NoStream, events("a", "b"), nil)
	add(t, s.shared, id, one, events("c", "d"), nil)
	old := []eventstore.Expectation{
		one, eventstore.Version(2),
		eventstore.Version(1), eventstore.Version(3), // in the middle of a commit
		eventstore.Version(0), eventstore.Revision{}, eventstore.NoStream,
	}
	for _, expected := range old {
		_, err := s.shared.Append(t.Context(), id, expected, events("x"), nil)
		wantConflict(t, err, id, expected, 4)
	}
	wantTexts(t, s.shared, id, "a", "b", "c", "d")
}

func expectAbove(t *testing.T, s suite) {
	id := s.stream()
	_, err := s.shared.Append(t.Context(), id, eventstore.Version(1), events("x"), nil)
	wantConflict(t, err, id, eventstore.Version(1), 0)
	add(t, s.shared, id, eventstore.NoStream, events("a"), nil)
	for _, above := range []eventstore.Version{2, 3, 1 << 40, ^eventstore.Version(0)} {
		_, err := s.shared.Append(t.Context(), id, above, events("x"), nil)
		wantConflict(t, err, id, above, 1)
	}
	wantTexts(t, s.shared, id, "a")
}

func expectNoStream(t *testing.T, s suite) {
	id := s.stream()
	add(t, s.shared, id, eventstore.NoStream, events("a"), nil)
	_, err := s.shared.Append(t.Context(), id, eventstore.NoStream, events("x"), nil)
	wantConflict(t, err, id, eventstore.NoStream, 1)
	wantTexts(t, s.shared, id, "a")
}

func expectExists(t *testing.T, s suite) {
	id := s.stream()
	_, err := s.shared.Append(t.Context(), id, eventstore.Exists, events("x"), nil)
	wantConflict(t, err, id, eventstore.Exists, 0)
	add(t, s.shared, id, eventstore.NoStream, events("a"), nil)
	if at := add(t, s.shared, id, eventstore.Exists, events("b"), nil); at.Version != 2 {
		t.Errorf("the second event is at %+v", at)
	}
	wantTexts(t, s.shared, id, "a", "b")
}

func expectAny(t *testing.T, s suite) {
	id := s.stream()
	for i, text := range []string{"a", "b", "c"} {
		if at := add(t, s.shared, id, eventstore.Any, events(text), nil); at.Version != uint64(i)+1 {
			t.Errorf("event %s is at %+v", text, at)
		}
	}
	wantTexts(t, s.shared, id, "a", "b", "c")
}

func conflictLeavesNothing(t *testing.T, s suite) {
	id := s.stream()
	log := s.log(t, "conflicts")
	first := add(t, log, id, eventstore.NoStream, events("a"), nil)
	second := add(t, log, id, first, events("b"), nil)
	for _, expected := range []eventstore.Expectation{first, eventstore.Version(1), eventstore.Version(3), eventstore.NoStream} {
		_, err := log.Append(t.Context(), id, expected, events("x", "y", "z"), named("refused"))
		wantConflict(t, err, id, expected, 2)
	}
	if position, err := log.Position(t.Context()); err != nil || position != second.Position {
		t.Errorf("the log is at position %d (%v) after the conflicts, and was at %d", position, err, second.Position)
	}
	wantTexts(t, log, id, "a", "b")
	// Nor is the id of a refused commit taken.
	if at := add(t, log, id, second, events("x", "y", "z"), named("refused")); at.Replayed || at.Version != 5 {
		t.Errorf("the refused commit is now at %+v", at)
	}
}
