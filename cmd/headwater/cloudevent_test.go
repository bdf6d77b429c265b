package main_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/eventstore"
)

// Whatever an event has, an export and an import give the same.
func FuzzExported(f *testing.F) {
	for _, seed := range []struct{ typ, contentType, data string }{
		{"order.placed", "application/json", `{"customer":"ann & <bob>","n":1.10e400}`}, {"größer", "", "plain"},
		{"a", "application/json", "null"}, {"a", "application/json", `{ "a": 1 }`}, {"a", "application/json", ""},
		{"a", "application/json", `"\ud800"`}, {"a", "text/plain", "\ufffd"}, {"a", "text/plain", "\xff"},
		{"a", "text/json; charset=x", "[]"}, {"a", "x/y+json;", "{}"}, {"a", "application/octet-stream", "\x00"},
	} {
		f.Add("42", seed.typ, seed.contentType, []byte(seed.data), "ann", int64(5), uint64(7))
	}
	f.Fuzz(func(t *testing.T, id, typ, contentType string, data []byte, user string, at int64, number uint64) {
		want := eventstore.Event{
			EventData: eventstore.EventData{Type: typ, ContentType: contentType, Data: data},
			Stream:    eventstore.StreamID{Kind: "order", ID: id}, Version: number, Position: number/2 + 1,
			CommitID: "c" + id, Time: time.Unix(at%253402300800, at&0xfff).UTC(), Metadata: map[string]string{"user": user},
		}
		if !validStrings(id, typ, contentType, user) || typ == "" || number == 0 || want.Time.Year() < 1 || want.Time.IsZero() {
			return // no log has such
		}
		line, err := want.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		got, gotID, err := headwater.ParseExported(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if !sameEvent(got, want) || got.Version != want.Version || got.Position != want.Position || gotID != want.ID() {
			t.Fatalf("%+v\nbecame\n%+v\nby\n%s", want, got, line)
		}
	})
}

func validStrings(all ...string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !utf8.ValidString(s) })
}

func sameEvent(a, b eventstore.Event) bool {
	return a.Type == b.Type && a.ContentType == b.ContentType && bytes.Equal(a.Data, b.Data) && a.Stream == b.Stream &&
		a.CommitID == b.CommitID && a.Time.Equal(b.Time) && maps.Equal(a.Metadata, b.Metadata)
}

// What a line says comes out again, or it is refused.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		`{"specversion":"1.0","id":"1","source":"/shop/order/42","type":"a","subject":"42","time":"2026-01-02T03:04:05Z","hwversion":"1","hwposition":"1","hwcommit":"1","user":"ann","data":{"a":1.0}}`,
		`{"specversion":"1.0","id":"1#2","source":"//a/%20","type":"a","subject":" ","hwversion":2,"hwposition":1,"hwcommit":"1","time":"2026-01-02T03:04:05.999999999+01:00","datacontenttype":"text/plain","data":"x"}`,
		`{"specversion":"1.0","id":"1","source":"urn:x","type":"a","subject":"s","data_base64":"AAE=","sampled":true,"n":-5,"gone":null}`,
		`{}`, `[`, `{"id":"\ud800"}`, "{\"\xff\":1}", `{"a":1,"a":2}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, _, err := headwater.ParseExported(line); err == nil {
			exportAgain(t, e)
		}
		if e, err := headwater.ParseForeign(line, "sensor"); err == nil {
			if !json.Valid(line) {
				t.Fatalf("%q is no JSON", line)
			}
			if e.Time.IsZero() {
				e.Time = time.Unix(1, 0) // as the import gives it one
			}
			e.Version, e.Position = 1, 1
			exportAgain(t, e)
		}
	})
}

// exportAgain fails the test unless an event, exported, is the same.
func exportAgain(t *testing.T, e eventstore.Event) {
	t.Helper()
	if y := e.Time.Year(); y < 1 || y > 9999 || e.Stream.ID == "" || strings.Contains(e.Stream.Kind, "/") {
		return
	}
	line, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := headwater.ParseExported(line)
	if err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	if !sameEvent(got, e) {
		t.Fatalf("%+v\nbecame\n%+v\nby\n%s", e, got, line)
	}
}
