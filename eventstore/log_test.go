package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var logItems = []item{
	{"47 the log has every event once, in order", logAll},
	{"47 the log has large commits", logLarge},
	{"48 the log from a position", logFrom},
	{"50 the log by kind and type", logChosen},
	{"51 a kind is no stream, and the other way round", logNoKind},
	{"53 whoever stops reading leaves nothing behind", stopReading},
	{"53 whoever stops waiting leaves nothing behind", stopWaiting},
	{"58 following is reading on without gap or repetition", followLive},
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

func logAll(t *testing.T, s site) {
	log := s.log(t, "log-all", nil)
	if got := logged(t, log, 0); len(got) > 0 {
		t.Errorf("an empty log has %d events", len(got))
	}
	want := scatter(t, log, 700)
	got := logged(t, log, 0)
	wantLogged(t, got, want)
	for _, e := range got {
		if e.Position == 0 || e.ID() == "" || e.Time.IsZero() || e.Recorded.IsZero() {
			t.Errorf("the log has %+v", e)
		}
	}
	if report, err := log.Verify(t.Context(), nil); err != nil || report.Commits != 700 || report.Events != uint64(len(want)) || report.Position != 700 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// More than the server sends at once.
func logLarge(t *testing.T, s site) {
	log := s.log(t, "log-large", nil)
	var want []eventstore.Event
	for i := range 12 {
		id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}
		data := events(strings.Repeat(fmt.Sprint(i%10), 900_000))
		at := add(t, log, id, eventstore.NoStream, data, nil)
		want = append(want, eventstore.Event{EventData: data[0], Stream: id, Version: 1, Position: at.Position, CommitID: at.CommitID})
	}
	got := logged(t, log, 0)
	if !slices.EqualFunc(got, want, sameEvent) {
		t.Errorf("read %d large commits, want %d", len(got), len(want))
	}
}

func logFrom(t *testing.T, s site) {
	const commits = 300
	log := s.log(t, "log-from", nil)
	all := scatter(t, log, commits)
	random := eventstore.Seeded(t)
	for _, after := range []uint64{0, 1, 2, commits - 1, commits, uint64(random.IntN(commits)), uint64(random.IntN(commits))} {
		var want []eventstore.Event
		for _, e := range all {
			if e.Position > after {
				want = append(want, e)
			}
		}
		wantLogged(t, logged(t, log, after), want)
	}
	var limited []eventstore.Event
	for e, err := range log.Log(t.Context(), 100, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if limited = append(limited, e); len(limited) == 5 {
			break
		}
	}
	wantLogged(t, limited, logged(t, log, 100)[:5])
}

// By kind, by type, by both, and several of them.
func logChosen(t *testing.T, s site) {
	log := s.log(t, "log-chosen", nil)
	random := eventstore.Seeded(t)
	kinds, types := []string{"order", "payment", "order-line"}, []string{"placed", "paid", "placed.v2"}
	for i := range 100 {
		data := make([]eventstore.EventData, 1+random.IntN(3))
		for j := range data {
			data[j] = eventstore.EventData{Type: types[random.IntN(3)], Data: []byte(fmt.Sprint(i, j))}
		}
		add(t, log, eventstore.StreamID{Kind: kinds[random.IntN(3)], ID: fmt.Sprint(i % 5)}, eventstore.Any, data, nil)
	}
	all := logged(t, log, 0)
	for _, opts := range []eventstore.LogOptions{
		{}, {Kinds: kinds[:1]}, {Kinds: kinds[1:]}, {Types: types[:1]}, {Types: types[1:]},
		{Kinds: kinds[:1], Types: types[:1]}, {Kinds: kinds[:2], Types: types[1:]},
		{Kinds: []string{"nothing"}}, {Types: []string{"nothing"}},
	} {
		for _, after := range []uint64{0, 50, 100} {
			var want []eventstore.Event
			for _, e := range all {
				if e.Position > after && (opts.Kinds == nil || slices.Contains(opts.Kinds, e.Stream.Kind)) && (opts.Types == nil || slices.Contains(opts.Types, e.Type)) {
					want = append(want, e)
				}
			}
			got, err := collect(log.Log(t.Context(), after, &opts))
			if err != nil {
				t.Fatal(err)
			}
			wantLogged(t, got, want)
			if len(want) == 0 {
				continue
			}
			for e, err := range log.Follow(t.Context(), after, &opts) {
				if err != nil || !sameEvent(e, want[0]) {
					t.Fatalf("following %+v after %d begins with %+v, %v", opts, after, e, err)
				}
				if want = want[1:]; len(want) == 0 {
					break
				}
			}
		}
	}
}

func logNoKind(t *testing.T, s site) {
	log := s.log(t, "log-no-kind", nil)
	add(t, log, eventstore.StreamID{Kind: "order", ID: "42"}, eventstore.NoStream, events("a"), nil)
	for _, kind := range []string{"order/42", "order.42", "order.*", "*", ">", ""} {
		opts := &eventstore.LogOptions{Kinds: []string{"order", kind}}
		if all, err := collect(log.Log(t.Context(), 0, opts)); !errors.Is(err, eventstore.ErrInvalid) || len(all) > 0 {
			t.Errorf("the log of kind %q has %d events, %v", kind, len(all), err)
		}
		if all, err := collect(log.Follow(t.Context(), 0, opts)); !errors.Is(err, eventstore.ErrInvalid) || len(all) > 0 {
			t.Errorf("followed, the log of kind %q has %d events, %v", kind, len(all), err)
		}
		if all, err := collect(log.Read(t.Context(), eventstore.StreamID{Kind: kind, ID: "42"}, nil)); !errors.Is(err, eventstore.ErrInvalid) || len(all) > 0 {
			t.Errorf("a stream of kind %q has %d events, %v", kind, len(all), err)
		}
	}
	if all := read(t, log, eventstore.StreamID{Kind: "order", ID: "order"}, nil); len(all) > 0 {
		t.Errorf("a stream that has the name of a kind has %d events", len(all))
	}
	if _, err := collect(log.Log(t.Context(), 0, &eventstore.LogOptions{Types: []string{""}})); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("the log of no type: %v", err)
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

func followLive(t *testing.T, s site) {
	const before, writers, each = 300, 3, 100
	log := s.log(t, "follow-live", nil)
	scatter(t, log, before)
	stores := []*eventstore.Store{s.open(t, s.jetStream(t).Conn(), log.Name(), nil), log}
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				id := eventstore.StreamID{Kind: "live", ID: fmt.Sprint(i % 7)}
				if _, err := stores[w%2].Append(t.Context(), id, eventstore.Any, events("a", "b"), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var got []eventstore.Event
	for e, err := range log.Follow(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
		if e.Position == before+writers*each && string(e.Data) == "b" {
			break
		}
	}
	writing.Wait()
	wantLogged(t, got, logged(t, log, 0))
	versions := make(map[eventstore.StreamID]uint64)
	for _, e := range got {
		if versions[e.Stream]++; e.Version != versions[e.Stream] {
			t.Errorf("event %d of %s is version %d", versions[e.Stream], e.Stream, e.Version)
		}
	}
}
