package main_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/eventstore"
)

const foreignEvents = `{"specversion":"1.0","id":"r-1","source":"https://plant.example/line/7","type":"reading","subject":"s1","time":"2026-01-02T03:04:05.5+01:00","data":{"celsius": 21.50}}
{"specversion":"1.0","id":"r-2","source":"https://plant.example/line/7","type":"reading","subject":"s2","time":"2026-01-02T02:00:00Z","datacontenttype":"text/csv","data":"a,b\n","sampled":true,"traceparent":"00-1","n":7,"gone":null}

{"specversion":"1.0","id":"r-3","source":"urn:\u0007","type":"raw","subject":"s1","dataschema":"urn:schema","a_b":"1","hwversion":"9","verylongattributename0":"x","data_base64":"AP8="}
`

func TestImportForeign(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "plant")
	got := succeedWith(t, foreignEvents, s.with("import", "-kind", "sensor")...)
	if want := totals("3 0", "3 0") + "attributes that a log cannot keep were left out: 5\n"; got != want {
		t.Errorf("it printed\n%s\nwant\n%s", got, want)
	}
	all := contents(t, s.log)
	if age := time.Since(all[2].Time); age < 0 || age > time.Hour {
		t.Errorf("an event without a time got %v", all[2].Time)
	}
	all[2].Time = time.Time{}
	const source = "https://plant.example/line/7"
	want := []eventstore.Event{
		{EventData: jsonEvent("r-1 reading", `{"celsius": 21.50}`), CommitID: "r-1", Stream: eventstore.StreamID{Kind: "sensor", ID: "s1"}, Version: 1,
			Time: time.Date(2026, 1, 2, 2, 4, 5, 500_000_000, time.UTC), Metadata: map[string]string{"cesource": source}},
		{EventData: eventstore.EventData{Type: "r-2 reading", ContentType: "text/csv", Data: []byte("a,b\n")}, CommitID: "r-2",
			Stream: eventstore.StreamID{Kind: "sensor", ID: "s2"}, Version: 1, Time: time.Date(2026, 1, 2, 2, 0, 0, 0, time.UTC),
			Metadata: map[string]string{"cesource": source, "sampled": "true", "traceparent": "00-1", "n": "7"}},
		{EventData: eventstore.EventData{Type: "r-3 raw", Data: []byte{0, 0xff}}, CommitID: "r-3",
			Stream: eventstore.StreamID{Kind: "sensor", ID: "s1"}, Version: 2},
	}
	for i := range want {
		if !reflect.DeepEqual(all[i], want[i]) {
			t.Errorf("event %d is\n%+v\nwant\n%+v", i+1, all[i], want[i])
		}
	}
	requireContains(t, succeedWith(t, foreignEvents, s.with("import", "-kind", "sensor")...), totals("0 3", "0 3"), "nothing new\n")
}

func TestImportForeignBadLines(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	good := strings.SplitAfter(foreignEvents, "\n")
	for i, test := range []struct {
		text, want string
		events     int
	}{
		{good[0] + "nonsense\n" + good[1], "2: it is not a JSON object", 1},
		{strings.Replace(good[0], "subject", "sbject", 1), "1: attribute subject is missing, which is to name the stream", 0},
		{strings.Replace(good[0], `"source":"https://plant.example/line/7",`, "", 1), "1: it is no CloudEvent: attribute source is missing", 0},
		{good[0] + strings.Replace(good[0], "21.50", "21.51", 1), `2: stream "sensor/s1", event id "r-1": the stream has an event of this id already, and it is another one`, 1},
		{strings.Replace(good[1], `"a,b\n"`, "5", 1), `1: its data is not what "text/csv" is in JSON: it is not a string`, 0},
		{strings.Replace(good[0], `"2026-01-02T03:04:05.5+01:00"`, `"0001-01-01T00:00:00Z"`, 1), "1: attribute time is ", 0},
		{strings.Replace(good[0], `"s1"`, `["s1"]`, 1), `1: attribute "subject": it is neither text, nor a number, nor true or false`, 0},
		{strings.Replace(good[0], `21.50`, strings.Repeat("9", 2<<20), 1), "1: stream sensor/s1: the commit's message would take ", 0},
	} {
		s := onServer(t, server, fmt.Sprint("log", i))
		r := runWith(t.Context(), strings.NewReader(test.text), s.with("import", "-kind", "sensor")...)
		if r.status != 1 || !strings.HasPrefix(r.errors, "headwater: standard input:"+test.want) {
			t.Errorf("exit status %d, complained\n%s\nwant\n%s", r.status, r.errors, test.want)
		}
		if n := len(contents(t, s.log)); n != test.events {
			t.Errorf("%d events are there, want %d", n, test.events)
		}
	}
	s := onServer(t, server, "kind")
	r := runWith(t.Context(), strings.NewReader(good[0]), s.with("import", "-kind", "a b")...)
	if r.status != 1 {
		t.Errorf("exit status %d", r.status)
	}
	requireContains(t, r.errors, `standard input:1: stream kind "a b": may have only letters`)
}

// readings are events of a few streams, far more of each than an append
// remembers.
func readings(n, streams int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"specversion":"1.0","id":"r-%d","source":"urn:plant","type":"reading","subject":"s%d","time":"2026-01-02T03:04:05Z","data":%d}`+"\n", i, i%streams, i)
	}
	return b.String()
}

// With room for few ids, streams are read again and again, and nothing comes
// twice. Others write meanwhile.
func TestImportForeignAgain(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "plant")
	text := readings(160, 2)
	half := text[:strings.Index(text, `{"specversion":"1.0","id":"r-80"`)]
	merge := func(text string, most int, added, present uint64) {
		t.Helper()
		gotAdded, gotPresent, err := headwater.Merge(t.Context(), s.log, "sensor", strings.NewReader(text), most)
		if err != nil || gotAdded != added || gotPresent != present {
			t.Fatalf("added %d, present %d, %v; want %d and %d", gotAdded, gotPresent, err, added, present)
		}
	}
	merge(half, 50, 80, 0)
	for _, id := range []string{"s0", "s1"} {
		add(t, s.log, eventstore.StreamID{Kind: "sensor", ID: id}, &eventstore.AppendOptions{CommitID: "own"}, jsonEvent("own", "1"), jsonEvent("own", "2"))
	}
	merge(text, 50, 80, 80)
	for _, most := range []int{1, 150, 1 << 20} {
		merge(text, most, 0, 160)
	}
	if n := len(contents(t, s.log)); n != 164 {
		t.Errorf("%d events are there", n)
	}
}

// Two imports of one file at the same time add each event once.
func TestImportForeignTogether(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "plant")
	text := readings(400, 2)
	type outcome struct {
		added, present uint64
		err            error
	}
	outcomes := make(chan outcome)
	for range 2 {
		go func() {
			added, present, err := headwater.Merge(context.WithoutCancel(t.Context()), s.log, "sensor", strings.NewReader(text), 1<<20)
			outcomes <- outcome{added, present, err}
		}()
	}
	a, b := <-outcomes, <-outcomes
	if a.err != nil || b.err != nil || a.added+b.added != 400 || a.present+b.present != 400 {
		t.Errorf("%+v and %+v", a, b)
	}
	if n := len(contents(t, s.log)); n != 400 {
		t.Errorf("%d events are there", n)
	}
}
