package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var logItems = []item{
	{"53 whoever stops reading leaves nothing behind", stopReading},
	{"53 whoever stops waiting leaves nothing behind", stopWaiting},
}

// logged reads a log to its end.
func logged(t *testing.T, store *eventstore.Store, after uint64) []eventstore.Event {
	t.Helper()
	all, err := collect(store.Log(t.Context(), after, nil))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scatter appends n commits of 1 to 3 numbered events to several streams, and
// returns what was appended, by position.
func scatter(t *testing.T, store *eventstore.Store, n int) (all []eventstore.Event) {
	t.Helper()
	random := eventstore.Seeded(t)
	at := make(map[eventstore.StreamID]eventstore.Revision)
	for range n {
		id := eventstore.StreamID{Kind: []string{"order", "payment"}[random.IntN(2)], ID: fmt.Sprint(random.IntN(20))}
		data := make([]string, 1+random.IntN(3))
		for i := range data {
			data[i] = fmt.Sprint(len(all) + i)
		}
		version := at[id].Version
		at[id] = add(t, store, id, at[id], events(data...), nil)
		for i, d := range events(data...) {
			all = append(all, eventstore.Event{EventData: d, Stream: id, Version: version + uint64(i) + 1, Position: at[id].Position, CommitID: at[id].CommitID})
		}
	}
	return all
}

func sameEvent(a, b eventstore.Event) bool {
	return a.Stream == b.Stream && a.Version == b.Version && a.Position == b.Position && a.CommitID == b.CommitID && string(a.Data) == string(b.Data)
}

func wantLogged(t *testing.T, got, want []eventstore.Event) {
	t.Helper()
	if !slices.EqualFunc(got, want, sameEvent) {
		t.Errorf("the log has %q, want %q", texts(got), texts(want))
	}
}

// consumers returns how many consumers a log has on the server.
func (s site) consumers(t *testing.T, log string) func() int {
	t.Helper()
	js := s.jetStream(t)
	return func() int {
		stream, err := js.Stream(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers
	}
}

// wantNone checks that no consumer is left. The nodes of a cluster know that
// one after another, but long before the server removes one that is idle.
func wantNone(t *testing.T, count func() int) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	eventually(t, "no consumer is left", func() bool {
		n := count()
		if n > 0 && time.Now().After(deadline) {
			t.Fatalf("%d consumers are left", n)
		}
		return n == 0
	})
}

type reading func(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error]

func stopReading(t *testing.T, s site) {
	log := s.log(t, "stop-reading", nil)
	all := scatter(t, log, 600)
	count := s.consumers(t, log.Name())
	for e, err := range log.Read(t.Context(), all[len(all)-1].Stream, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Fatalf("reading version %d of a stream takes %d consumers", e.Version, n)
		}
	}
	for _, read := range []reading{log.Log, log.Follow} {
		for _, limit := range []int{1, 2, 500} { // within a commit, and after many
			n := 0
			for _, err := range read(t.Context(), 0, nil) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == limit {
					break
				}
			}
			wantNone(t, count)
		}
		// The context may also end while the caller handles an event.
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for _, err := range read(ctx, 0, nil) {
			last = err
			cancel()
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("a read whose context is cancelled ends with %v", last)
		}
		wantNone(t, count)
		cancel()
	}
	logged(t, log, 0)
	if _, err := log.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	wantNone(t, count)
}

func stopWaiting(t *testing.T, s site) {
	log := s.log(t, "stop-waiting", nil)
	scatter(t, log, 3)
	count := s.consumers(t, log.Name())
	for _, after := range []uint64{0, 3} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			var last error
			for _, err := range log.Follow(ctx, after, nil) {
				last = err
			}
			ended <- last
		}()
		eventually(t, "it waits", func() bool { return count() == 1 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ended with %v", err)
		}
		wantNone(t, count)
	}
}
