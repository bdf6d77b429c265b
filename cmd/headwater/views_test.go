package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

func add(t *testing.T, log *eventstore.Store, stream eventstore.StreamID, opts *eventstore.AppendOptions, events ...eventstore.EventData) {
	t.Helper()
	if _, err := log.Append(t.Context(), stream, eventstore.Any, events, opts); err != nil {
		t.Fatal(err)
	}
}

func jsonEvent(typ, data string) eventstore.EventData {
	return eventstore.EventData{Type: typ, ContentType: "application/json", Data: []byte(data)}
}

// fill makes a small log with all that is hard to carry.
func fill(t *testing.T, log *eventstore.Store) {
	t.Helper()
	at := func(id string, minutes int) *eventstore.AppendOptions {
		return &eventstore.AppendOptions{CommitID: id, Time: day.Add(time.Duration(minutes)*time.Minute + 9),
			Metadata: map[string]string{"user": "ann: \"größer\" 100%", "empty": ""}}
	}
	order, cart := eventstore.StreamID{Kind: "order", ID: "42"}, eventstore.StreamID{Kind: "cart", ID: "é/% .*>"}
	add(t, log, order, at("one", 0),
		jsonEvent("order.placed", `{"customer":"ann & <bob>","total":12345678901234567890.10}`),
		jsonEvent("order.paid", "null"))
	add(t, log, cart, at("two#1", 1),
		eventstore.EventData{Type: "note", ContentType: "text/plain; charset=utf-8", Data: []byte("größer\x00\x1b[31m")},
		eventstore.EventData{Type: "raw", ContentType: "application/octet-stream", Data: []byte{0, 1, 0xff}},
		eventstore.EventData{Type: "loose", ContentType: "application/vnd.order+json", Data: []byte(`{ "spaces" : 1 }`)},
		eventstore.EventData{Type: "no.json", ContentType: "application/json", Data: []byte(`{`)},
		eventstore.EventData{Type: "nothing", ContentType: "application/json"},
		eventstore.EventData{Type: "no.content.type", Data: []byte("plain")})
	add(t, log, order, at("three", 2), jsonEvent("order.shipped", `{"by":"`+strings.Repeat("é", 200)+`"}`))
	add(t, log, eventstore.StreamID{Kind: "order", ID: "\u202egnp.exe"}, at("four", 3), jsonEvent("order.\u202eplaced", `{"by":"`+"\u200b"+`"}`))
}

// The same in both ways to find a log.
func TestViews(t *testing.T) {
	t.Parallel()
	served := onServer(t, startServer(t), "shop")
	fill(t, served.log)
	dir := inFolder(t, func(log *eventstore.Store) { fill(t, log) })
	for _, test := range []struct {
		file string
		args []string
	}{
		{"streams.txt", []string{"streams"}},
		{"streams-kind.jsonl", []string{"streams", "-kind", "order", "-json"}},
		{"cat.txt", []string{"cat", "order/42"}},
		{"cat-hostile.txt", []string{"cat", "order/\u202egnp.exe"}},
		{"cat-data.txt", []string{"cat", "cart/é/% .*>"}},
		{"cat-range.txt", []string{"cat", "-from", "2", "-to", "3", "-backward", "order/42"}},
		{"cat.jsonl", []string{"cat", "order/42", "-json"}},
		{"verify.txt", []string{"verify"}},
		{"verify.jsonl", []string{"verify", "-json"}},
	} {
		golden(t, test.file, succeed(t, append(test.args, "-data", dir)...))
		golden(t, test.file, succeed(t, served.with(test.args...)...))
	}
	golden(t, "logs.txt", succeed(t, "logs", "-data", dir))
	golden(t, "logs.jsonl", succeed(t, "logs", "-json", "-data", dir))
	requireFailure(t, `stream "order/43" has no events`, "cat", "order/43", "-data", dir)
	requireFailure(t, `stream "order/42" has no such versions`, "cat", "order/42", "-from", "9", "-data", dir)
}

func TestTail(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "shop")
	fill(t, s.log)
	var seen strings.Builder
	p := begin(t, s.with("tail", "-n", "2", "-type", "order.shipped", "-type", "order.late")...)
	fmt.Fprintln(&seen, p.line())
	fmt.Fprintln(&seen, p.line())
	add(t, s.log, eventstore.StreamID{Kind: "order", ID: "42"}, &eventstore.AppendOptions{CommitID: "late", Time: day},
		jsonEvent("order.other", "{}"), jsonEvent("order.late", "{}"))
	fmt.Fprintln(&seen, p.line())
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after Ctrl-C", status)
	}
	golden(t, "tail.txt", seen.String())

	p = begin(t, s.with("tail", "-after", "1", "-kind", "order", "-json")...)
	for _, want := range []string{"order.shipped", "order.\u202eplaced", "order.other", "order.late"} {
		requireContains(t, p.line(), `"type":"`+want+`"`)
	}
	if status := p.end(); status != 0 {
		t.Errorf("exit status %d after Ctrl-C", status)
	}

	// Without a beginning: from now on.
	p = begin(t, s.with("tail")...)
	requireContains(t, p.line(), "position")
	add(t, s.log, eventstore.StreamID{Kind: "cart", ID: "new"}, nil, jsonEvent("now", "{}"))
	requireContains(t, p.line(), "cart/new", "now")
	p.end()
	requireContains(t, run(t, s.with("tail", "-after", "1000")...).errors, "position 1000")
}

// On three nodes all is the same.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := testutil.Cluster(t)
	log := testutil.Open(t, cluster, &eventstore.Options{Replicas: 3})
	fill(t, log)
	on := []string{"-server", cluster.Node(0).URL() + "," + cluster.Node(1).URL()}
	look := func(args ...string) []string { return append(args, on...) }
	requireContains(t, succeed(t, look("logs", "-json")...), `"log":"test","position":4,`, `"replicas":3,`)
	golden(t, "streams.txt", succeed(t, look("streams")...))
	golden(t, "cat.txt", succeed(t, look("cat", "order/42")...))
	text := succeed(t, look("export")...)
	requireContains(t, succeedWith(t, text, look("import", "-log", "copy")...), totals("4 0", "10 0"))
	requireContains(t, succeedWith(t, text, look("import", "-log", "test")...), totals("0 4", "0 10"))
	for _, name := range []string{"test", "copy"} {
		requireContains(t, succeed(t, look("verify", "-log", name)...), "log "+name+" up to position 4: 3 streams, 4 commits, 10 events, damaged places: 0")
	}
}
