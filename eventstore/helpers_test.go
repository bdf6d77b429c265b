package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// client returns a store of the shared log on a connection of its own.
func (s site) client(t *testing.T) *eventstore.Store {
	t.Helper()
	return s.open(t, testutil.Connect(t, s), s.shared.Name(), nil)
}

// log returns a store of a new log, which is verified when the test ends.
func (s site) log(t *testing.T, name string, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	store := s.open(t, testutil.Connect(t, s), name, opts)
	verifyAtEnd(t, store)
	return store
}

// open opens a log and creates it with the site's replicas. What the store then
// does in the background is over.
func (s site) open(t *testing.T, nc *nats.Conn, name string, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	var o eventstore.Options
	if opts != nil {
		o = *opts
	}
	o.Replicas = s.replicas
	store, err := eventstore.Open(t.Context(), nc, name, &o)
	if err != nil {
		t.Fatal(err)
	}
	s.quiet(t, store)
	return store
}

// jetStream returns the JetStream API on a connection of its own, for what the
// store does not show.
func (s site) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(testutil.Connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// quiet waits until a store sends nothing by itself any more. Its walk over the log
// gives way to everything else that the machine does.
func (s site) quiet(t *testing.T, store *eventstore.Store) {
	t.Helper()
	within(t, 4*patience, "the walk over the log is over", func() bool { return s.replicas > 1 || eventstore.Scrubbed(store) })
}

func verifyAtEnd(t *testing.T, store *eventstore.Store) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		report, err := store.Verify(ctx, nil)
		if err != nil {
			t.Errorf("verify the log %s: %v", store.Name(), err)
		}
		for _, damage := range report.Damage {
			t.Errorf("verify: %v", damage)
		}
	})
}

// stream names a stream that no other test writes to.
func stream(t *testing.T) eventstore.StreamID {
	return eventstore.StreamID{Kind: "order", ID: t.Name()}
}

// events makes one event of each text.
func events(texts ...string) []eventstore.EventData {
	out := make([]eventstore.EventData, len(texts))
	for i, text := range texts {
		out[i] = eventstore.EventData{Type: "noted", ContentType: "text/plain", Data: []byte(text)}
	}
	return out
}

// add appends where nothing may go wrong.
func add(t *testing.T, s *eventstore.Store, id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) eventstore.Revision {
	t.Helper()
	at, err := s.Append(t.Context(), id, expected, data, opts)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// named is the options of a commit with this id.
func named(id string) *eventstore.AppendOptions { return &eventstore.AppendOptions{CommitID: id} }

func head(t *testing.T, s *eventstore.Store, id eventstore.StreamID) eventstore.Revision {
	t.Helper()
	at, err := s.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// collect reads a sequence to its end.
func collect(events iter.Seq2[eventstore.Event, error]) (all []eventstore.Event, err error) {
	for e, err := range events {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

// read reads a stream to its end.
func read(t *testing.T, s *eventstore.Store, id eventstore.StreamID, opts *eventstore.ReadOptions) []eventstore.Event {
	t.Helper()
	all, err := collect(s.Read(t.Context(), id, opts))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// history reads a whole stream and checks that its versions are 1, 2, 3 ….
func history(t *testing.T, s *eventstore.Store, id eventstore.StreamID) []eventstore.Event {
	t.Helper()
	all := read(t, s, id, nil)
	for i, e := range all {
		if e.Version != uint64(i)+1 || e.Stream != id {
			t.Fatalf("event %d of %s is version %d of %s", i+1, id, e.Version, e.Stream)
		}
	}
	return all
}

func texts(all []eventstore.Event) []string {
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = string(e.Data)
	}
	return out
}

// wantTexts checks the data of all events of a stream.
func wantTexts(t *testing.T, s *eventstore.Store, id eventstore.StreamID, want ...string) {
	t.Helper()
	if got := texts(history(t, s, id)); !slices.Equal(got, want) {
		t.Errorf("stream %s has %q, want %q", id, got, want)
	}
}

func wantEvents(t *testing.T, got []eventstore.Event, want []eventstore.EventData) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("read %d events, appended %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i].EventData
		if g.Type != w.Type || g.ContentType != w.ContentType || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("event %d is %.200q, appended %.200q", i+1, g, w)
		}
	}
}

// wantConflict checks that err is the conflict of this expectation.
func wantConflict(t *testing.T, err error, id eventstore.StreamID, expected eventstore.Expectation, actual uint64) {
	t.Helper()
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, eventstore.ErrConflict) {
		t.Fatalf("got %v, want a ConflictError", err)
	}
	if conflict.Stream != id || conflict.Expected.String() != expected.String() || conflict.Actual != actual {
		t.Errorf("got %v, want expected %v and actual %d", conflict, expected, actual)
	}
}

// same reports whether two revisions are the same place, replayed or not.
func same(a, b eventstore.Revision) bool {
	return a.Version == b.Version && a.Position == b.Position && a.CommitID == b.CommitID
}

// patience is for what takes a moment; a test that waits longer is broken.
const patience = 30 * time.Second

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

func within(t *testing.T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}
