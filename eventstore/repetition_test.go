package eventstore_test

import (
	"context"
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
	{"21 a repeated commit within the duplicate window", repeatWithinWindow},
	{"21 a repeated commit past the duplicate window", repeatPastWindow},
	{"21 a repeated commit after a restart", repeatAfterRestart},
	{"21 a repeated commit whose answers are lost", repeatUnanswered},
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

func repeatWithinWindow(t *testing.T, s site) {
	log := s.log(t, "repeat-within-window", nil)
	all := storeEach(t, log)
	others(t, log, all, eventstore.Remembered+1)
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
