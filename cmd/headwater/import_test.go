package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// exportedLines returns the export of a log of three commits: the first and the
// last are of one order, the second of another.
func exportedLines(t *testing.T) []string {
	t.Helper()
	s := onServer(t, startServer(t), "shop")
	order := eventstore.StreamID{Kind: "order", ID: "1"}
	opts := func(id string) *eventstore.AppendOptions {
		return &eventstore.AppendOptions{CommitID: id, Time: day, Metadata: map[string]string{"user": "ann"}}
	}
	add(t, s.log, order, opts("a"), jsonEvent("placed", "{}"), jsonEvent("paid", "{}"), jsonEvent("packed", "{}"))
	add(t, s.log, eventstore.StreamID{Kind: "order", ID: "2"}, opts("a"), jsonEvent("placed", "{}"))
	add(t, s.log, order, opts("b"), jsonEvent("shipped", "{}"))
	return strings.SplitAfter(strings.TrimSpace(succeed(t, s.with("export")...)), "\n")
}

func TestImportBadLines(t *testing.T) {
	t.Parallel()
	lines := exportedLines(t)
	server := startServer(t)
	text := func(order ...int) string {
		var b strings.Builder
		for _, i := range order {
			b.WriteString(strings.TrimSpace(lines[i]) + "\n")
		}
		return b.String()
	}
	for i, test := range []struct {
		name, text, want string
		events           int // that are written all the same
	}{
		{"no JSON", text(0, 1, 2, 3) + "nonsense\n" + text(4), "5: it is not a JSON object", 3},
		{"no JSON in a commit", text(0, 1) + "{\"a\":1\n", "3: it is not JSON: unexpected EOF", 0},
		{"two values", text(3) + "{}{}", "2: something follows the JSON object on its line", 0},
		{"array", "[]", "1: it is not a JSON object", 0},
		{"name twice", `{"id":"a","id":"b"}`, `1: it has "id" twice`, 0},
		{"no CloudEvent", "\n\n{}", "3: it is no CloudEvent: attribute specversion is missing", 0},
		{"old CloudEvent", strings.Replace(text(3), `"1.0"`, `"0.3"`, 1), `1: CloudEvents of version "0.3" are not known, 1.0 is`, 0},
		{"foreign", strings.Replace(text(3), "hwversion", "version", 1), "1: attribute hwversion is missing", 0},
		{"version", strings.Replace(text(3), `"hwversion":"1"`, `"hwversion":"-1"`, 1), `1: attribute hwversion is "-1" and not a number from 1`, 0},
		{"not UTF-8", strings.Replace(text(3), "placed", "\xff", 1), "1: it is not UTF-8", 0},
		{"half a pair", strings.Replace(text(3), "placed", `\ud800`, 1), `1: attribute "type": it has half a surrogate pair`, 0},
		{"source", strings.Replace(text(3), "/order/2", "/order/1", 1), `1: source "/shop/order/1" is not /LOG/KIND/ID of subject "2"`, 0},
		{"time", strings.Replace(text(3), "2026-01", "2026-13", 1), "1: attribute time is ", 0},
		{"data", strings.Replace(text(3), `"data":{}`, `"data_base64":"*"`, 1), "1: its data is not what ", 0},
		{"data twice", strings.Replace(text(3), `"data":{}`, `"data":{},"data_base64":""`, 1), "1: it has data and data_base64", 0},
		{"metadata", strings.Replace(text(3), `"user"`, `"User"`, 1), `1: metadata key "User": may have only`, 0},
		{"type", strings.Replace(text(3), `placed`, `\u001b`, 1), `1: event type "\x1b": has a control character`, 0},
		{"event missing", text(0, 2), `2: version 3 of stream "order/1" comes where 2 of the same commit should`, 0},
		{"metadata differ", text(0) + strings.Replace(text(1), "ann", "bob", 1), "2: its time or metadata are not those of the event before", 0},
		{"end missing", text(0), `1: commit "a" of stream "order/1" has several events, and only the first is here`, 0},
		{"beginning missing", text(1, 2), `1: the id of event 1 of commit "a" is "a#2"`, 0},
		{"history missing", text(3, 4), `2: stream "order/1" is at version 0, and commit "b" begins with version 4: the events before it are missing; nothing of it was written`, 1},
		{"in another order, and twice", text(3, 0, 1, 2, 4, 3, 0, 1, 2), "", 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := onServer(t, server, fmt.Sprint("log", i))
			r := runWith(t.Context(), strings.NewReader(test.text), s.with("import")...)
			if test.want != "" && (r.status != 1 || !strings.HasPrefix(r.errors, "headwater: standard input:"+test.want)) {
				t.Errorf("exit status %d, complained\n%s\nwant\n%s", r.status, r.errors, test.want)
			}
			if test.want == "" && (r.status != 0 || r.errors != "") {
				t.Errorf("exit status %d, complained %s", r.status, r.errors)
			}
			if n := len(contents(t, s.log)); n != test.events {
				t.Errorf("%d events are there, want %d", n, test.events)
			}
		})
	}
}

// A stream that has another history is left as it is.
func TestImportConflict(t *testing.T) {
	t.Parallel()
	lines := exportedLines(t)
	s := onServer(t, startServer(t), "shop")
	order := eventstore.StreamID{Kind: "order", ID: "1"}
	add(t, s.log, order, &eventstore.AppendOptions{CommitID: "other"}, jsonEvent("other", "{}"))
	file := filepath.Join(t.TempDir(), "shop.jsonl")
	if err := os.WriteFile(file, []byte(lines[3]+strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, s.with("import", file)...)
	if want := "headwater: " + file + `:2: stream "order/1" is at version 1, and commit "a" begins with version 1: the log has other events there; nothing of it was written` + "\n"; r.status != 1 || r.errors != want {
		t.Errorf("exit status %d, complained\n%s\nwant\n%s", r.status, r.errors, want)
	}
	if got, want := r.out, totals("1 0", "1 0"); got != want {
		t.Errorf("it printed\n%s\nwant\n%s", got, want)
	}
	if n := len(contents(t, s.log)); n != 2 {
		t.Errorf("%d events are there", n)
	}

	// The commit's id, and other data.
	text := strings.Replace(lines[3], `"data":{}`, `"data":[]`, 1)
	r = runWith(t.Context(), strings.NewReader(text), s.with("import")...)
	if r.status != 1 {
		t.Errorf("exit status %d", r.status)
	}
	requireContains(t, r.errors, `standard input:1: stream order/2: commit id "a" already stands at version 1`, "with other events")

	// The commit's id at another version.
	text = strings.NewReplacer(`"hwversion":"1"`, `"hwversion":"2"`).Replace(lines[3])
	r = runWith(t.Context(), strings.NewReader(text), s.with("import")...)
	if r.status != 1 {
		t.Errorf("exit status %d", r.status)
	}
	requireContains(t, r.errors, `standard input:1: stream "order/2" has commit "a" at version 1 already, and here it is at 2`)
}

// A log may have a commit id twice in a stream, if the second came long after
// the first. An import, which is faster, has to wait for that.
func TestImportRepeatedID(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	open := func(log string) site {
		store, err := eventstore.Open(t.Context(), testutil.Connect(t, server), log, &eventstore.Options{DuplicateWindow: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return site{store, []string{"-server", server.URL(), "-log", log}}
	}
	from, to := open("shop"), open("copy")
	order := eventstore.StreamID{Kind: "order", ID: "1"}
	for i := range eventstore.Remembered + 1 {
		add(t, from.log, order, &eventstore.AppendOptions{CommitID: fmt.Sprint("c", i), Time: day}, jsonEvent("a", "1"))
	}
	for again := (eventstore.Revision{Replayed: true}); again.Replayed; {
		var err error
		again, err = from.log.Append(t.Context(), order, eventstore.Any, []eventstore.EventData{jsonEvent("a", "1")}, &eventstore.AppendOptions{CommitID: "c0", Time: day})
		if err != nil {
			t.Fatal(err)
		}
	}
	text := succeed(t, from.with("export")...)
	for {
		r := runWith(t.Context(), strings.NewReader(text), to.with("import")...)
		if r.status == 0 {
			break
		}
		const want = `headwater: standard input:66: stream "order/1" has commit "c0" at version 1 already, and here it is at 66; if `
		if !strings.HasPrefix(r.errors, want) {
			t.Fatalf("it complained\n%s\nwant\n%s", r.errors, want)
		}
	}
	requireSame(t, to.log, from.log)
}
