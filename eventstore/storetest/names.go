package storetest

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var nameItems = []item{
	{"32 illegal names are refused", illegalNames},
	{"32 other names are escaped and come back", escapedNames},
	{"33 no type and no metadata forges a header", forgedHeaders},
}

// Texts that CloudEvents forbids everywhere.
var illegalTexts = map[string]string{
	"NUL": "a\x00b", "tab": "a\tb", "line feed": "a\nb", "CR LF": "a\r\nb: c", "escape": "\x1b[2J", "delete": "a\x7f",
	"C1 control": "a\u0085b", "noncharacter": "a\uffff", "another noncharacter": "\ufdd0", "one of a later plane": "\U0001fffe",
	"Latin-1": "caf\xe9", "cut UTF-8": "a\xe4\xb8", "surrogate": "\xed\xa0\x80", "overlong": "\xc0\xaf",
}

// An illegal append and what of it the error must name.
type illegal struct {
	what string
	id   eventstore.StreamID
	data []eventstore.EventData
	opts eventstore.AppendOptions
}

func illegalAppends(id eventstore.StreamID) map[string]illegal {
	all := make(map[string]illegal)
	withID := func(name, text string) {
		all["id: "+name] = illegal{"stream id", eventstore.StreamID{Kind: "order", ID: text}, events("a"), eventstore.AppendOptions{}}
	}
	withType := func(name, text string) {
		all["type: "+name] = illegal{"event type", id, []eventstore.EventData{{Type: "fine"}, {Type: text}}, eventstore.AppendOptions{}}
	}
	withMetadata := func(name, what, key, value string) {
		all["metadata: "+name] = illegal{what, id, events("a"), eventstore.AppendOptions{Metadata: map[string]string{"fine": "fine", key: value}}}
	}
	for name, text := range illegalTexts {
		withID(name, text)
		withType(name, text)
		withMetadata("value with "+name, "metadata value of key", "key", text)
		all["content type: "+name] = illegal{"content type", id, []eventstore.EventData{{Type: "fine", ContentType: text}}, eventstore.AppendOptions{}}
		all["commit id: "+name] = illegal{"commit id", id, events("a"), eventstore.AppendOptions{CommitID: text}}
	}
	long := strings.Repeat("x", 256)
	withID("empty", "")
	withID("1 KiB", strings.Repeat("x", 1024))
	withType("empty", "")
	withType("too long", long)
	all["content type: too long"] = illegal{"content type", id, []eventstore.EventData{{Type: "fine", ContentType: long}}, eventstore.AppendOptions{}}
	all["commit id: too long"] = illegal{"commit id", id, events("a"), eventstore.AppendOptions{CommitID: long}}
	for _, kind := range []string{"", ".", "a.b", "*", ">", "a b", "é", "a/b", "a%2Eb", "a\r\n", strings.Repeat("x", 65)} {
		all["kind: "+kind] = illegal{"stream kind", eventstore.StreamID{Kind: kind, ID: "1"}, events("a"), eventstore.AppendOptions{}}
	}
	keys := []string{"", "Upper", "under_score", "da-sh", "a b", "a:b", "a\r\nce-type", "é", strings.Repeat("x", 21), "hw", "hwcommit"}
	reserved := []string{"id", "type", "source", "specversion", "subject", "time", "datacontenttype", "dataschema", "data"}
	for _, key := range append(keys, reserved...) {
		withMetadata("key "+key, "metadata key", key, "value")
	}
	return all
}

func illegalNames(t *testing.T, s suite) {
	store, id := s.shared, s.stream()
	for name, c := range illegalAppends(id) {
		for _, expected := range []eventstore.Expectation{eventstore.NoStream, eventstore.Any, eventstore.Version(1)} {
			_, err := store.Append(t.Context(), c.id, expected, c.data, &c.opts)
			var invalid *eventstore.InvalidError
			if !errors.As(err, &invalid) || !errors.Is(err, eventstore.ErrInvalid) || invalid.What != c.what {
				t.Errorf("%q: got %v, want an InvalidError about the %s", name, err, c.what)
			}
		}
		if c.id == id {
			continue
		}
		if _, err := store.Head(t.Context(), c.id); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%q: Head: %v", name, err)
		}
		for _, err := range store.Read(t.Context(), c.id, nil) {
			if !errors.Is(err, eventstore.ErrInvalid) {
				t.Errorf("%q: Read: %v", name, err)
			}
		}
	}
	for _, expected := range []eventstore.Expectation{nil, eventstore.Existence(3), eventstore.Existence(-1)} {
		if _, err := store.Append(t.Context(), id, expected, events("a"), nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("expectation %v: %v", expected, err)
		}
	}
	wantTexts(t, store, id)
}

func escapedNames(t *testing.T, s suite) {
	log := s.log(t, "escaped-names")
	ids := []string{
		".", "..", "*", ">", "a.b", "a.*", "a.>", "a.", ".a", "a*b", "a>b", "%", "%2E", "%252E", "%zz", " ", "  ", "a b", " a", "a ",
		"é", "e\u0301", "日本", "🌍", "\u00a0", "\u2028", "\ufffd", "a/b", "a\\b", "\"", "'", "a;b", "a:b", "$JS", "$JS.API.>", "_INBOX", "-", "0", "A", "a",
		strings.Repeat("x", 200), strings.Repeat(".", 70),
	}
	seen := make(map[string]bool)
	for _, text := range ids {
		id := eventstore.StreamID{Kind: "order", ID: text}
		if at := add(t, log, id, eventstore.NoStream, events(text), nil); at.Version != 1 {
			t.Errorf("the first event of %q is at %+v", text, at)
		}
		for _, name := range []string{text, strings.Repeat("é", 100)} {
			data := eventstore.EventData{Type: name, ContentType: name, Data: []byte(text)}
			add(t, log, id, eventstore.Exists, []eventstore.EventData{data}, named("1 "+name))
			add(t, log, id, eventstore.Exists, []eventstore.EventData{data, events(text)[0], data}, named("3 "+name))
		}
		seen[text] = true
	}
	for text := range seen {
		for _, e := range history(t, log, eventstore.StreamID{Kind: "order", ID: text}) {
			if string(e.Data) != text {
				t.Errorf("the stream %q has an event of %q", text, e.Data)
			}
			if e.Type != "noted" && (e.Type != e.ContentType || e.CommitID != "1 "+e.Type && e.CommitID != "3 "+e.Type) {
				t.Errorf("the commit %q has type %q and content type %q", e.CommitID, e.Type, e.ContentType)
			}
		}
	}
	events := 0
	for e, err := range log.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream.ID != string(e.Data) {
			t.Errorf("the log says that the event of %q is of %q", e.Data, e.Stream.ID)
		}
		events++
	}
	if want := 9 * len(seen); events != want {
		t.Errorf("the log has %d events, want %d", events, want)
	}
}

func forgedHeaders(t *testing.T, s suite) {
	id := s.stream()
	forgeries := []string{
		"ce-type: other", ": ", ":", "a: b", "%0D%0Ace-type: other", "\\r\\nce-type: other", "%0d%0a%0d%0a", "NATS/1.0", "Nats-Rollup: all",
		"a;b;c", "3;x 4;y", "\"", "%",
	}
	var at eventstore.Revision
	for i, text := range forgeries {
		metadata := map[string]string{"forged": text, "msgid": text}
		data := eventstore.EventData{Type: text, ContentType: text, Data: []byte(text)}
		at = add(t, s.shared, id, at, []eventstore.EventData{data}, &eventstore.AppendOptions{CommitID: fmt.Sprint(i, text), Metadata: metadata})
		at = add(t, s.shared, id, at, []eventstore.EventData{data, events("b")[0], data}, &eventstore.AppendOptions{CommitID: fmt.Sprint(i, text, i), Metadata: metadata})
		for j, e := range read(t, s.shared, id, &eventstore.ReadOptions{From: at.Version - 3}) {
			if !maps.Equal(e.Metadata, metadata) {
				t.Errorf("%q: the metadata is %q", text, e.Metadata)
			}
			if j != 2 {
				wantEvents(t, []eventstore.Event{e}, []eventstore.EventData{data})
			}
		}
	}
	history(t, s.shared, id)
}
