package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var logItems = []item{
	{"47 the log has every event once, in order", logAll},
	{"47 the log has large commits", logLarge},
	{"48 the log from a position", logFrom},
	{"50 the log by kind and type", logChosen},
	{"51 a kind is no stream, and the other way round", logNoKind},
}

// logged reads a log to its end.
func logged(t *testing.T, store Store, after uint64) []eventstore.Event {
	t.Helper()
	all, err := collect(store.Log(t.Context(), after, nil))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scatter appends n commits of 1 to 3 numbered events to several streams, and
// returns what was appended, by position.
func scatter(t *testing.T, store Store, n int) (all []eventstore.Event) {
	t.Helper()
	random := seeded(t)
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

// positions returns those of the commits.
func positions(all []eventstore.Event) []uint64 {
	at := make([]uint64, len(all))
	for i, e := range all {
		at[i] = e.Position
	}
	return slices.Compact(at)
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

func logAll(t *testing.T, s suite) {
	log := s.log(t, "log-all")
	if got := logged(t, log, 0); len(got) > 0 {
		t.Errorf("an empty log has %d events", len(got))
	}
	want := scatter(t, log, 700)
	got := logged(t, log, 0)
	wantLogged(t, got, want)
	for _, e := range got {
		if e.Position == 0 || e.CommitID == "" || e.Time.IsZero() || e.Recorded.IsZero() {
			t.Errorf("the log has %+v", e)
		}
	}
	if at, err := log.Position(t.Context()); err != nil || at != want[len(want)-1].Position {
		t.Errorf("the log is at position %d (%v), and its last commit at %d", at, err, want[len(want)-1].Position)
	}
}

// More than the server sends at once.
func logLarge(t *testing.T, s suite) {
	log := s.log(t, "log-large")
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

func logFrom(t *testing.T, s suite) {
	const commits = 300
	log := s.log(t, "log-from")
	all := scatter(t, log, commits)
	at := positions(all)
	random := seeded(t)
	for _, after := range []uint64{0, at[0], at[1], at[commits-2], at[commits-1], at[random.IntN(commits)], at[random.IntN(commits)]} {
		var want []eventstore.Event
		for _, e := range all {
			if e.Position > after {
				want = append(want, e)
			}
		}
		wantLogged(t, logged(t, log, after), want)
	}
	var limited []eventstore.Event
	for e, err := range log.Log(t.Context(), at[100], nil) {
		if err != nil {
			t.Fatal(err)
		}
		if limited = append(limited, e); len(limited) == 5 {
			break
		}
	}
	wantLogged(t, limited, logged(t, log, at[100])[:5])
}

// By kind, by type, by both, and several of them.
func logChosen(t *testing.T, s suite) {
	log := s.log(t, "log-chosen")
	random := seeded(t)
	kinds, types := []string{"order", "payment", "order-line"}, []string{"placed", "paid", "placed.v2"}
	for i := range 100 {
		data := make([]eventstore.EventData, 1+random.IntN(3))
		for j := range data {
			data[j] = eventstore.EventData{Type: types[random.IntN(3)], Data: []byte(fmt.Sprint(i, j))}
		}
		add(t, log, eventstore.StreamID{Kind: kinds[random.IntN(3)], ID: fmt.Sprint(i % 5)}, eventstore.Any, data, nil)
	}
	all := logged(t, log, 0)
	at := positions(all)
	for _, opts := range []eventstore.LogOptions{
		{}, {Kinds: kinds[:1]}, {Kinds: kinds[1:]}, {Types: types[:1]}, {Types: types[1:]},
		{Kinds: kinds[:1], Types: types[:1]}, {Kinds: kinds[:2], Types: types[1:]},
		{Kinds: []string{"nothing"}}, {Types: []string{"nothing"}},
	} {
		for _, after := range []uint64{0, at[49], at[99]} {
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
			wantLogged(t, follow(t, log, after, &opts, len(want), nil), want)
		}
	}
}

func logNoKind(t *testing.T, s suite) {
	log := s.log(t, "log-no-kind")
	add(t, log, eventstore.StreamID{Kind: "order", ID: "42"}, eventstore.NoStream, events("a"), nil)
	for _, kind := range []string{"order/42", "order.42", "order.*", "*", ">", ""} {
		opts := &eventstore.LogOptions{Kinds: []string{"order", kind}}
		if all, err := collect(log.Log(t.Context(), 0, opts)); !errors.Is(err, eventstore.ErrInvalid) || len(all) > 0 {
			t.Errorf("the log of kind %q has %d events, %v", kind, len(all), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if all, err := collect(log.Follow(ctx, 0, opts)); !errors.Is(err, eventstore.ErrInvalid) || len(all) > 0 {
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
