package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var appendItems = []item{
	{"1 an append of no events is invalid", appendNothing},
	{"2 the first event has version 1 and a position", appendFirst},
	{"3 the events of an append stand in the given order", appendSeveral},
	{"4 an append continues the versions", appendContinues},
	{"5 an event without data", appendNoData},
	{"6 metadata comes back as it was", appendMetadata},
	{"7 any bytes come back as they were", appendBinary},
	{"8 an empty correlation and causation", appendEmptyCorrelation},
	{"9 id and time are filled in or kept", appendIDAndTime},
}

func appendNothing(t *testing.T, s suite) {
	id := s.stream()
	for _, none := range [][]eventstore.EventData{nil, {}} {
		_, err := s.shared.Append(t.Context(), id, eventstore.Any, none, nil)
		if !errors.As(err, new(*eventstore.InvalidError)) || !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("got %v, want an InvalidError", err)
		}
	}
	wantTexts(t, s.shared, id)
}

func appendFirst(t *testing.T, s suite) {
	at := add(t, s.shared, s.stream(), eventstore.NoStream, events("a"), nil)
	if at.Version != 1 || at.Position == 0 || at.CommitID == "" || at.Replayed {
		t.Errorf("the first event is at %+v", at)
	}
	all := history(t, s.shared, s.stream())
	if len(all) != 1 || all[0].CommitID == "" || !same(all[0].Revision(), at) {
		t.Errorf("read %+v, appended at %+v", all, at)
	}
}

func appendSeveral(t *testing.T, s suite) {
	id := s.stream()
	one := add(t, s.shared, id, eventstore.NoStream, events("a", "b", "c"), named("one"))
	two := add(t, s.shared, id, one, events("d", "e"), named("two"))
	if one.Version != 3 || two.Version != 5 || two.Position <= one.Position {
		t.Errorf("two commits are at %+v and %+v", one, two)
	}
	wantTexts(t, s.shared, id, "a", "b", "c", "d", "e")
	for i, e := range history(t, s.shared, id) {
		at := one
		if i >= 3 {
			at = two
		}
		if e.Position != at.Position || e.CommitID != at.CommitID {
			t.Errorf("event %d is of %q at %d, its commit is at %+v", i, e.CommitID, e.Position, at)
		}
		if leads := e.Revision(); leads.Position != at.Position || leads.CommitID != at.CommitID || e.Version == at.Version && !same(leads, at) {
			t.Errorf("event %d leads to %+v, its append to %+v", i, leads, at)
		}
	}
}

func appendContinues(t *testing.T, s suite) {
	id := s.stream()
	var at eventstore.Revision
	for i := range 10 {
		next := add(t, s.shared, id, at, events(fmt.Sprint(i)), nil)
		if next.Version != at.Version+1 || next.Position <= at.Position {
			t.Fatalf("after %+v comes %+v", at, next)
		}
		at = next
	}
	if at := head(t, s.shared, id); at.Version != 10 {
		t.Errorf("ten events, and the stream is at %+v", at)
	}
	if all := history(t, s.shared, id); len(all) != 10 {
		t.Errorf("ten events, and the stream has %d", len(all))
	}
}

func appendNoData(t *testing.T, s suite) {
	id := s.stream()
	nothing := eventstore.EventData{Type: "touched"}
	empty := eventstore.EventData{Type: "touched", ContentType: "text/plain", Data: []byte{}}
	at := add(t, s.shared, id, eventstore.NoStream, []eventstore.EventData{nothing}, nil)
	at = add(t, s.shared, id, at, []eventstore.EventData{empty}, nil)
	add(t, s.shared, id, at, []eventstore.EventData{empty, nothing, empty, nothing}, nil)
	want := []eventstore.EventData{nothing, empty, empty, nothing, empty, nothing}
	wantEvents(t, history(t, s.shared, id), want)
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

func appendMetadata(t *testing.T, s suite) {
	id := s.stream()
	metadata := map[string]string{
		"empty":                "",
		"space":                " ",
		"edges":                "  inside  and around  ",
		"unicode":              "Grüße, 世界 🌍",
		"combined":             "e\u0301 is not é",
		"number":               "-1.50e+300",
		"json":                 `{"a":[1,null,"x\n"],"b":{"c":true}}`,
		"percent":              "100% %41 %zz %0D%0A",
		"quotes":               `"quoted" \"and\" 'more'`,
		"long":                 strings.Repeat("x", 10_000),
		"traceparent":          "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"tracestate":           "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
		"0":                    "a key of one digit",
		"abcdefghijklmnopqrst": "a key of 20 letters",
	}
	at := add(t, s.shared, id, eventstore.NoStream, events("a"), &eventstore.AppendOptions{Metadata: metadata})
	at = add(t, s.shared, id, at, events("b", "c"), &eventstore.AppendOptions{Metadata: metadata})
	add(t, s.shared, id, at, events("d"), nil)
	for _, e := range history(t, s.shared, id) {
		want := metadata
		if string(e.Data) == "d" {
			want = nil
		}
		if !maps.Equal(e.Metadata, want) {
			t.Errorf("event %s has the metadata %.300q, want %.300q", e.Data, e.Metadata, want)
		}
	}
}

func appendBinary(t *testing.T, s suite) {
	id := s.stream()
	random := seeded(t)
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	payloads := [][]byte{
		all, {0}, []byte("\n"), []byte("\n\n"), []byte("a\nb\n"), []byte("\r\n"), []byte("NATS/1.0\r\nce-type: other\r\n\r\n"),
		[]byte("PUB x 1\r\ny\r\n"), []byte("\xff\xfe\xfd"), noise(1), noise(1000), noise(100_000),
	}
	var want []eventstore.EventData
	var at eventstore.Revision
	for i, p := range payloads {
		want = append(want, eventstore.EventData{Type: fmt.Sprintf("noise %d;x", i), ContentType: "application/octet-stream", Data: p})
		at = add(t, s.shared, id, at, want[i:], nil)
	}
	add(t, s.shared, id, at, want, nil)
	wantEvents(t, history(t, s.shared, id), append(want, want...))
}

func appendEmptyCorrelation(t *testing.T, s suite) {
	metadata := map[string]string{"correlationid": "", "causationid": ""}
	add(t, s.shared, s.stream(), eventstore.NoStream, events("a"), &eventstore.AppendOptions{Metadata: metadata})
	if got := history(t, s.shared, s.stream())[0].Metadata; !maps.Equal(got, metadata) {
		t.Errorf("got the metadata %q", got)
	}
}

func appendIDAndTime(t *testing.T, s suite) {
	id := s.stream()
	zone := time.FixedZone("UTC+14", 14*60*60)
	given := []time.Time{
		time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC),
		time.Date(2024, 2, 29, 23, 59, 59, 120000000, zone),
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
	}
	var at eventstore.Revision
	for i, when := range given {
		opts := &eventstore.AppendOptions{CommitID: fmt.Sprintf("my id %d ü", i), Time: when}
		if at = add(t, s.shared, id, at, events("a"), opts); at.CommitID != opts.CommitID {
			t.Errorf("gave the id %q, appended as %q", opts.CommitID, at.CommitID)
		}
	}
	before := time.Now()
	for range 2 {
		at = add(t, s.shared, id, at, events("a"), nil)
	}
	after := time.Now()

	all := history(t, s.shared, id)
	for i, when := range given {
		if e := all[i]; e.CommitID != fmt.Sprintf("my id %d ü", i) || !e.Time.Equal(when) || e.Time.Location() != time.UTC {
			t.Errorf("commit %d was given the time %v and has %q, %v", i, when, e.CommitID, e.Time)
		}
	}
	filled := all[len(given):]
	if filled[0].CommitID == "" || filled[0].CommitID == filled[1].CommitID {
		t.Errorf("two commits without an id got %q and %q", filled[0].CommitID, filled[1].CommitID)
	}
	for _, e := range filled {
		if when := e.Time; when.Before(before.Truncate(0)) || when.After(after.Truncate(0)) || when.Location() != time.UTC {
			t.Errorf("an event happened at %v, appended between %v and %v", when, before, after)
		}
	}
	for _, e := range all { // by a clock that may be another one
		if e.Recorded.IsZero() || e.Recorded.Location() != time.UTC {
			t.Errorf("an event was recorded at %v", e.Recorded)
		}
	}
	for _, when := range []time.Time{time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 1, 0, 0, 0, zone)} {
		if _, err := s.shared.Append(t.Context(), id, eventstore.Any, events("a"), &eventstore.AppendOptions{Time: when}); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("an event at %v: %v", when, err)
		}
	}
}
