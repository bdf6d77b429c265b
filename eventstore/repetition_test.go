package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

var repetitionItems = []item{
	{"21 a repeated commit is not stored again", repeatAtOnce},
	{"21 a repeated commit after others", repeatAfterOthers},
	{"21 a repeated commit past the duplicate window", repeatPastWindow},
	{"21 a repeated commit after a restart", repeatAfterRestart},
	{"21 a repeated commit whose answers are lost", repeatUnanswered},
	{"23 a commit id with other events is refused", reuseOfID},
	{"24 the same commit id on another stream is another commit", sameIDElsewhere},
	{"25 the same event twice in a commit is two events", sameEventTwice},
}

// shortWindow is the shortest duplicate window that the server accepts.
const shortWindow = 100 * time.Millisecond

// A stored is an append that was made and may be made again.
type stored struct {
	id       eventstore.StreamID
	expected eventstore.Expectation
	events   []eventstore.EventData
	at       eventstore.Revision
}

const storedID = "the one"

func (a stored) append(t *testing.T, store *eventstore.Store) eventstore.Revision {
	t.Helper()
	return add(t, store, a.id, a.expected, a.events, named(storedID))
}

// storeEach makes one append with each expectation, each to a stream of its own.
func storeEach(t *testing.T, store *eventstore.Store) []stored {
	t.Helper()
	var all []stored
	make := func(name string, first bool, expected eventstore.Expectation, texts ...string) {
		t.Helper()
		a := stored{id: stream(t), expected: expected, events: events(texts...)}
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
func wantReplays(t *testing.T, store *eventstore.Store, all []stored) {
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
func others(t *testing.T, store *eventstore.Store, all []stored, n int) {
	t.Helper()
	for _, a := range all {
		at := head(t, store, a.id)
		for i := range n {
			at = add(t, store, a.id, at, events(fmt.Sprint("other ", i)), nil)
		}
	}
}

func repeatAtOnce(t *testing.T, s site) {
	log := s.log(t, "repeat-at-once", nil)
	all := storeEach(t, log)
	wantReplays(t, log, all)
	wantReplays(t, s.open(t, testutil.Connect(t, s), log.Name(), nil), all)
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

func repeatAfterOthers(t *testing.T, s site) {
	log := s.log(t, "repeat-after-others", nil)
	all := storeEach(t, log)
	others(t, log, all, 3)
	wantReplays(t, log, all)
	// Now by the duplicate window, where only the last commits are searched.
	others(t, log, all, eventstore.Remembered)
	wantReplays(t, log, all)
}

func repeatPastWindow(t *testing.T, s site) {
	log := s.log(t, "repeat-past-window", &eventstore.Options{DuplicateWindow: shortWindow})
	all := storeEach(t, log)
	s.passWindow(t)
	wantReplays(t, log, all)
	others(t, log, all, eventstore.Remembered-1)
	s.passWindow(t)
	wantReplays(t, log, all)
	wantReplays(t, s.open(t, testutil.Connect(t, s), log.Name(), nil), all)
	// These are found however old they are.
	guarded := slices.DeleteFunc(all, func(a stored) bool { return a.expected == eventstore.Any || a.expected == eventstore.Exists })
	others(t, log, guarded, 100)
	s.passWindow(t)
	wantReplays(t, log, guarded)
}

// passWindow waits until a short duplicate window is over for everything that
// was stored before the call: until the server has twice forgotten an id that
// was published after it.
func (s site) passWindow(t *testing.T) {
	t.Helper()
	js := s.jetStream(t)
	_, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "windows", Subjects: []string{"windows"}, Duplicates: shortWindow, Replicas: s.replicas})
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(t.Name(), time.Now().UnixNano())
	accepted := 0
	eventually(t, "the duplicate window is over", func() bool {
		ack, err := js.Publish(t.Context(), "windows", nil, jetstream.WithMsgID(id))
		if err != nil {
			t.Fatal(err)
		}
		if !ack.Duplicate {
			accepted++
		}
		return accepted == 3
	})
}

func repeatAfterRestart(t *testing.T, s site) {
	dir := t.TempDir()
	ctx := t.Context()
	run := func(use func(s site)) {
		t.Helper()
		var on interface {
			testutil.Connector
			Close() error
		}
		var err error
		opts := &embedded.Options{Relaxed: true}
		if s.replicas == 1 {
			on, err = embedded.Start(ctx, dir, opts)
		} else {
			on, err = embedded.StartCluster(ctx, dir, s.replicas, opts)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer on.Close()
		use(site{Connector: on, replicas: s.replicas})
	}

	windows := map[string]time.Duration{"long": 0, "short": shortWindow}
	all := make(map[string][]stored)
	run(func(s site) {
		for name, window := range windows {
			log := s.open(t, testutil.Connect(t, s), name, &eventstore.Options{DuplicateWindow: window})
			all[name] = storeEach(t, log)
		}
	})
	run(func(s site) {
		s.passWindow(t)
		for name := range windows {
			log := s.open(t, testutil.Connect(t, s), name, nil)
			wantReplays(t, log, all[name])
			others(t, log, all[name], 3)
			wantReplays(t, log, all[name])
			if report, err := log.Verify(context.WithoutCancel(ctx), nil); err != nil || len(report.Damage) > 0 {
				t.Errorf("verify: %+v, %v", report, err)
			}
		}
	})
}

// The first message of the repeated append gets no answer, so the append looks
// for its commit having sent one. The commit it finds is that of the first
// append all the same.
func repeatUnanswered(t *testing.T, s site) {
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	nc := through(t, []*proxy{p})
	store := s.open(t, nc, s.shared.Name(), &eventstore.Options{AckWait: 150 * time.Millisecond, Reads: testutil.Connect(t, s)})
	id := stream(t)
	base := add(t, s.shared, id, eventstore.NoStream, events("first"), nil)
	first := add(t, s.shared, id, base, events("a"), named(storedID))
	for round := range 2 {
		p.hold(toClient)
		sent := nc.Stats().OutMsgs
		var at eventstore.Revision
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { at, err = store.Append(t.Context(), id, base, events("a"), named(storedID)) })
		eventually(t, "the append is sent", func() bool { return nc.Stats().OutMsgs > sent })
		p.lose()
		wg.Wait()
		if err != nil || !same(at, first) || !at.Replayed {
			t.Errorf("round %d: stored at %+v, and again at %+v, %v", round, first, at, err)
		}
		add(t, s.shared, id, head(t, s.shared, id), events("another"), nil)
	}
}

func reuseOfID(t *testing.T, s site) {
	log := s.log(t, "reuse-of-id", nil)
	id := stream(t)
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

func sameIDElsewhere(t *testing.T, s site) {
	one := stream(t)
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
	other := s.log(t, "same-id-elsewhere", nil)
	if at := add(t, other, one, eventstore.NoStream, events("a"), named("shared")); at.Replayed || at.Position != 1 {
		t.Errorf("the first event of another log is at %+v", at)
	}
	wantTexts(t, s.shared, one, "a")
}

// The ids of events follow from the commit's id and the number of the event in
// it. So giving the same event twice is not an error: it happened twice.
func sameEventTwice(t *testing.T, s site) {
	id := stream(t)
	twice := events("a", "a")
	twice[1] = twice[0]
	add(t, s.shared, id, eventstore.NoStream, twice, nil)
	all := history(t, s.shared, id)
	if len(all) != 2 || all[0].ID() == all[1].ID() {
		t.Errorf("the same event twice is %+v", all)
	}
	wantTexts(t, s.shared, id, "a", "a")
}
