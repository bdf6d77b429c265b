package eventstore

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

var update = flag.Bool("update", false, "write the golden files of the wire format that do not exist yet")

// goldenCommits are commits whose messages stand in testdata, as they are on
// the wire. What was written once must be read for ever: these files are added
// to, never changed.
func goldenCommits() map[string]*commit {
	when := time.Date(2025, 3, 14, 15, 9, 26, 535897932, time.UTC)
	order := StreamID{Kind: "order", ID: "42"}
	awkward := StreamID{Kind: "Kind_of-1", ID: `a.b/*>% "ü"`}
	return map[string]*commit{
		"first": place(1, &commit{
			stream: order, id: "5f0c7a52-7f3c-4b5e-9d6f-3f2b8a3c1d10", time: when,
			events: []EventData{{Type: "order.placed", ContentType: "application/json", Data: []byte(`{"customer":"ann"}`)}},
		}),
		"bare": place(2, &commit{
			stream: awkward, id: `id "1" ü`, time: when.Truncate(time.Second),
			events: []EventData{{Type: "touched; 100% sure: yes"}},
		}),
		"metadata": place(70, &commit{
			stream: awkward, id: "1", time: when.Truncate(time.Millisecond),
			metadata: map[string]string{"correlationid": "c-1", "empty": "", "user": ` "ann" ü% `, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			events:   []EventData{{Type: "noted", ContentType: "text/plain; charset=utf-8", Data: []byte("a\r\nb\x00\xff")}},
		}),
		"several": place(9, &commit{
			stream: order, id: "several", time: when, metadata: map[string]string{"causationid": "c-2"},
			events: []EventData{
				{Type: "order.line", ContentType: "application/json", Data: []byte(`{"sku":"a"}`)},
				{Type: "order.line", ContentType: "application/json", Data: []byte(`{"sku":"b"}`)},
				{Type: "order.paid", ContentType: "application/json", Data: []byte(`{}`)},
			},
		}),
		"mixed": place(700, &commit{
			stream: awkward, id: "mixed", time: when,
			events: []EventData{
				{Type: "a"},
				{Type: "b;c d", ContentType: "x;y z", Data: []byte("one\ntwo\n")},
				{Type: "b;c d", ContentType: "x;y z"},
				{Type: "b;c d", Data: []byte("\n")},
				{Type: "b;c d", ContentType: "text/plain", Data: []byte("end")},
			},
		}),
	}
}

// place makes a commit the n-th of its stream, after commits of one event at
// positions that grow faster and faster.
func place(n uint64, c *commit) *commit {
	var base mark
	for i := uint64(1); i < n; i++ {
		before := &commit{stream: c.stream, id: fmt.Sprint("before ", i), events: []EventData{{Type: "before"}}}
		before.follow(base)
		before.position = i*i + 10
		base = before.mark()
	}
	c.follow(base)
	c.position = n*n + 10
	c.recorded = c.time.Add(time.Second)
	return c
}

const goldenLog = "shop"

// wireText is a message with its headers sorted, and line feeds for CR LF.
func wireText(m *nats.Msg) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, m.Subject)
	for _, key := range slices.Sorted(maps.Keys(m.Header)) {
		for _, value := range m.Header[key] {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	b.WriteByte('\n')
	b.Write(m.Data)
	return b.Bytes()
}

// parseWireText undoes wireText, by way of what nats.go reads from the wire.
func parseWireText(t testing.TB, text []byte) *nats.Msg {
	t.Helper()
	subj, rest, ok1 := bytes.Cut(text, []byte("\n"))
	headers, data, ok2 := bytes.Cut(rest, []byte("\n\n"))
	if !ok1 || !ok2 {
		t.Fatalf("not a message: %q", text)
	}
	wire := "NATS/1.0\r\n" + strings.ReplaceAll(string(headers), "\n", "\r\n") + "\r\n\r\n"
	h, err := nats.DecodeHeadersMsg([]byte(wire))
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: string(subj), Header: h, Data: data}
}

func TestWireFormat(t *testing.T) {
	t.Parallel()
	for name, c := range goldenCommits() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subj, err := subject(goldenLog, c.stream)
			if err != nil {
				t.Fatal(err)
			}
			msg := c.encode(goldenLog, subj, newHeaders())
			golden := readGolden(t, name, wireText(msg))
			if got := wireText(msg); !bytes.Equal(got, golden) {
				t.Errorf("the message is\n%s\nand was\n%s", got, golden)
			}
			stored := parseWireText(t, golden)
			back, err := decodeSubject(stored.Subject, stored.Header, stored.Data, c.position, c.recorded)
			if err != nil {
				t.Fatal(err)
			}
			if why := differ(c, back); why != "" {
				t.Errorf("read as another commit: %s", why)
			}
			if size := len("NATS/1.0\r\n") + headerBytes(golden) + len("\r\n"); size != headerSize(msg.Header) {
				t.Errorf("the headers take %d bytes, and headerSize says %d", size, headerSize(msg.Header))
			}
		})
	}
}

// headerBytes counts the header lines of a golden file with CR LF.
func headerBytes(golden []byte) int {
	_, rest, _ := bytes.Cut(golden, []byte("\n"))
	headers, _, _ := bytes.Cut(rest, []byte("\n\n"))
	return len(headers) + len("\n") + bytes.Count(headers, []byte("\n")) + 1
}

func readGolden(t *testing.T, name string, now []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "commit-"+name+".golden")
	if _, err := os.Stat(path); err != nil && *update {
		if err := os.WriteFile(path, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return golden
}

// differ says in what two commits are not the same, "" if in nothing.
func differ(a, b *commit) string {
	x, y := *a, *b
	for i := range max(len(a.events), len(b.events)) {
		if i >= len(a.events) || i >= len(b.events) {
			return fmt.Sprintf("%d events and %d", len(a.events), len(b.events))
		}
		e, f := a.events[i], b.events[i]
		if e.Type != f.Type || e.ContentType != f.ContentType || !bytes.Equal(e.Data, f.Data) {
			return fmt.Sprintf("event %d is %q and %q", i, e, f)
		}
	}
	if len(a.metadata)+len(b.metadata) > 0 && !maps.Equal(a.metadata, b.metadata) {
		return fmt.Sprintf("metadata %q and %q", a.metadata, b.metadata)
	}
	x.events, y.events, x.metadata, y.metadata = nil, nil, nil, nil
	if !x.time.Equal(y.time) || !x.recorded.Equal(y.recorded) {
		return fmt.Sprintf("times %v, %v and %v, %v", x.time, x.recorded, y.time, y.recorded)
	}
	x.time, y.time, x.recorded, y.recorded = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if !reflect.DeepEqual(x, y) {
		return fmt.Sprintf("%+v and %+v", x, y)
	}
	return ""
}
