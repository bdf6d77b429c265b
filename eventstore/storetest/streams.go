package storetest

import (
	"errors"
	"iter"
	"maps"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var streamsItems = []item{
	{"the streams and where they stand", streamsAll},
	{"the streams page by page", streamsPaged},
}

func listed(t *testing.T, heads iter.Seq2[eventstore.StreamHead, error]) []eventstore.StreamHead {
	t.Helper()
	var all []eventstore.StreamHead
	for h, err := range heads {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

// scattered fills a log, and returns where each stream of it stands.
func scattered(t *testing.T, log Store, commits int) map[eventstore.StreamID]eventstore.Event {
	t.Helper()
	last := make(map[eventstore.StreamID]eventstore.Event)
	for _, e := range scatter(t, log, commits) {
		last[e.Stream] = e
	}
	return last
}

func streamsAll(t *testing.T, s suite) {
	log := s.log(t, "streams-all")
	if all := listed(t, log.Streams(t.Context(), "", 0)); len(all) > 0 {
		t.Errorf("an empty log has the streams %v", all)
	}
	want := scattered(t, log, 300)
	for kind, wanted := range map[string]func(eventstore.StreamID, eventstore.Event) bool{
		"":        func(eventstore.StreamID, eventstore.Event) bool { return false },
		"order":   func(id eventstore.StreamID, _ eventstore.Event) bool { return id.Kind != "order" },
		"payment": func(id eventstore.StreamID, _ eventstore.Event) bool { return id.Kind != "payment" },
		"orde":    func(eventstore.StreamID, eventstore.Event) bool { return true },
	} {
		left := maps.Clone(want)
		maps.DeleteFunc(left, wanted)
		before := uint64(0)
		for _, h := range listed(t, log.Streams(t.Context(), kind, 0)) {
			e := left[h.Stream]
			delete(left, h.Stream)
			if h.Revision.Version != e.Version || h.Revision.Position != e.Position || h.Revision.CommitID != e.CommitID {
				t.Errorf("stream %s is listed at %+v, want version %d at position %d", h.Stream, h.Revision, e.Version, e.Position)
			}
			if h.Revision.Position <= before || h.Time.IsZero() || h.Recorded.IsZero() {
				t.Errorf("after position %d the list has %+v", before, h)
			}
			before = h.Revision.Position
		}
		if len(left) > 0 {
			t.Errorf("%d streams of kind %q are not listed: %v", len(left), kind, left)
		}
	}
	// A listed revision is as good as any.
	for _, h := range listed(t, log.Streams(t.Context(), "order", 0)) {
		add(t, log, h.Stream, h.Revision, events("a", "b"), nil)
	}
	var last error
	for _, err := range log.Streams(t.Context(), "order.*", 0) {
		last = err
	}
	if !errors.Is(last, eventstore.ErrInvalid) {
		t.Errorf("the streams of a kind that cannot be: %v", last)
	}
}

// Each page begins after the last stream of the one before, and at the end
// those come that changed since.
func streamsPaged(t *testing.T, s suite) {
	log := s.log(t, "streams-paged")
	want := scattered(t, log, 200)
	at, changed := uint64(0), eventstore.StreamID{}
	for page := 0; ; page++ {
		n := 0
		for h, err := range log.Streams(t.Context(), "", at) {
			if err != nil {
				t.Fatal(err)
			}
			if e := want[h.Stream]; e.Version != h.Revision.Version {
				t.Errorf("stream %s is listed at %+v, want version %d", h.Stream, h.Revision, e.Version)
			}
			delete(want, h.Stream)
			if at, changed = h.Revision.Position, h.Stream; n == 6 {
				break
			}
			n++
		}
		if n == 0 {
			break
		}
		if page > 200 {
			t.Fatal("there are more pages than commits")
		}
	}
	if len(want) > 0 {
		t.Errorf("the pages leave out %v", want)
	}
	next := add(t, log, changed, eventstore.Any, events("changed"), nil)
	if all := listed(t, log.Streams(t.Context(), "", at)); len(all) != 1 || all[0].Stream != changed || !same(all[0].Revision, next) {
		t.Errorf("after a change of %s the list has %+v", changed, all)
	}
	if all := listed(t, log.Streams(t.Context(), "", next.Position)); len(all) > 0 {
		t.Errorf("after the last change the list has %+v", all)
	}
}
