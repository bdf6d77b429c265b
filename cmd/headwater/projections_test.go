package main_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

// moments differ from one run to the next.
var moments = regexp.MustCompile(`("active":)"[^"]*"|("idleSeconds":)[0-9.e-]+| +(?:\d+m)?\d+s\b`)

// readers makes consumers of many kinds on a log of four commits.
func readers(t *testing.T, nc *nats.Conn, log *eventstore.Store) {
	t.Helper()
	fill(t, log)
	kept, err := log.Consume(t.Context(), "sales-1", 0, &eventstore.ConsumerOptions{
		Metadata: map[string]string{"headwater-projection": "sales"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := kept.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kept.Done(2)
	kept.Close()
	hostile(t, nc, log.Name())
}

// hostile makes consumers that are not of this library, with the worst names that
// the server allows, and two that are not durable.
func hostile(t *testing.T, nc *nats.Conn, log string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []jetstream.ConsumerConfig{
		{Durable: "\u202egnp\x1b]0;x\a", Metadata: map[string]string{"headwater-projection": "\x1b[31mred\nline"}},
		{Durable: "filtered", FilterSubjects: []string{log + ".order.*"}, AckPolicy: jetstream.AckExplicitPolicy},
		{Durable: "none", AckPolicy: jetstream.AckNonePolicy},
		{Name: "passing", AckPolicy: jetstream.AckExplicitPolicy},
	} {
		if _, err := js.CreateConsumer(t.Context(), log, cfg); err != nil {
			t.Fatal(err)
		}
	}
	inbox := nats.NewInbox()
	if _, err := nc.SubscribeSync(inbox); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreatePushConsumer(t.Context(), log, jetstream.ConsumerConfig{
		Durable: "pushed", DeliverSubject: inbox, AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverNewPolicy,
	}); err != nil {
		t.Fatal(err)
	}
}

// listed returns what the command prints as JSON, by consumer.
func listed(t *testing.T, args ...string) map[string]map[string]any {
	t.Helper()
	all := make(map[string]map[string]any)
	for line := range strings.Lines(succeed(t, append([]string{"projections", "-json"}, args...)...)) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all[r["consumer"].(string)] = r
	}
	return all
}

// listedWhen waits until a consumer in the list is as it should be.
func listedWhen(t *testing.T, consumer string, holds func(map[string]any) bool, args ...string) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for r := listed(t, args...)[consumer]; !holds(r); r = listed(t, args...)[consumer] {
		if time.Now().After(end) {
			t.Fatalf("it stays so: %v", r)
		}
	}
}

func TestProjections(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := onServer(t, server, "shop")
	readers(t, testutil.Connect(t, server), s.log)
	listedWhen(t, "sales-1", func(r map[string]any) bool { return r["done"] == 2.0 && r["sent"] == 4.0 && r["pulls"] == 0.0 }, s.flags...)
	for file, args := range map[string][]string{
		"projections.txt":   {"projections"},
		"projections.jsonl": {"projections", "-json"},
	} {
		golden(t, file, moments.ReplaceAllString(succeed(t, s.with(args...)...), `$1$2 …`))
	}
	requireFailure(t, `there is no log "ship"; there are: shop`, "projections", "-log", "ship", "-server", server.URL())
}

// The server that is started on a folder knows what the one before knew.
func TestProjectionsOfFolder(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, func(log *eventstore.Store) {
		fill(t, log)
		c, err := log.Consume(t.Context(), "sales-1", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	if all := listed(t, "-data", dir); len(all) != 1 || all["sales-1"]["lag"] != 3.0 {
		t.Errorf("%v", all)
	}
}

// A shared consumer is pinned while somebody reads it.
func TestProjectionsPinned(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "shop")
	fill(t, s.log)
	c, err := s.log.Consume(t.Context(), "shared-1", 0, &eventstore.ConsumerOptions{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if r := listed(t, s.flags...)["shared-1"]; r["pinned"] != true {
		t.Errorf("%v", r)
	}
	requireContains(t, succeed(t, s.with("projections")...), "  pinned   -  ")
}

// More consumers than one answer of the server lists.
func TestManyProjections(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := onServer(t, server, "shop")
	js, err := jetstream.New(testutil.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	const many = 300
	for i := range many {
		if _, err := js.CreateConsumer(t.Context(), "shop", jetstream.ConsumerConfig{Durable: "c" + strconv.Itoa(1000+i)}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(succeed(t, s.with("projections")...)), "\n")[1:]
	if len(lines) != many || !slices.IsSortedFunc(lines, func(a, b string) int { return strings.Compare(a[len(a)-5:], b[len(b)-5:]) }) {
		t.Errorf("%d lines, or not in order", len(lines))
	}
}

type placed struct{}

func (placed) EventType() string { return "order.placed" }

// place stores orders, a commit each.
func place(t *testing.T, log *eventstore.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		add(t, log, eventstore.StreamID{Kind: "order", ID: id}, nil, jsonEvent("order.placed", "{}"))
	}
}

// orderBooks returns two projections of the orders of a log: open and late.
func orderBooks(t *testing.T, log *eventstore.Store) (open, late *projection.Projection[*bbolt.Bucket]) {
	t.Helper()
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "models"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	handlers := projection.From("order", eventstore.JSON[eventstore.Typed](placed{}),
		projection.On(func(_ context.Context, book *bbolt.Bucket, _ placed, at projection.Event) error {
			return book.Put([]byte(at.Stream.ID), nil)
		}))
	for name, p := range map[string]**projection.Projection[*bbolt.Bucket]{"open": &open, "late": &late} {
		if *p, err = projection.New(name, log, file, handlers, nil); err != nil {
			t.Fatal(err)
		}
	}
	return open, late
}

// start runs a projection until the test ends.
func start(t *testing.T, p *projection.Projection[*bbolt.Bucket]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// made is the end of a consumer's name that the library makes up.
var made = regexp.MustCompile(`((?:open|late)-)[0-9a-f]{12}`)

// pulls are those of a consumer that is read: now and then there is one more.
var pulls = regexp.MustCompile(`("pulls":)[1-9]|[1-9](  -  +open )`)

// consumerOf waits until a projection has a consumer that is as it should be.
func consumerOf(t *testing.T, name string, holds func(map[string]any) bool, args ...string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for consumer, r := range listed(t, args...) {
			if r["projection"] == name {
				listedWhen(t, consumer, holds, args...)
				return
			}
		}
	}
	t.Fatalf("projection %s has no consumer", name)
}

// A projection that runs, one that was stopped before the last orders came, and a
// durable consumer of somebody else.
func TestProjectionsThatRun(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	s := onServer(t, server, "shop")
	place(t, s.log, "1", "2", "3")
	open, late := orderBooks(t, s.log)
	if err := late.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(testutil.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	foreign := jetstream.ConsumerConfig{Durable: "mailer", AckPolicy: jetstream.AckExplicitPolicy}
	if _, err := js.CreateConsumer(t.Context(), "shop", foreign); err != nil {
		t.Fatal(err)
	}
	start(t, open)
	place(t, s.log, "4", "5")
	consumerOf(t, "open", func(r map[string]any) bool { return r["done"] == 5.0 && r["pulls"].(float64) > 0 }, s.flags...)
	consumerOf(t, "late", func(r map[string]any) bool { return r["pulls"] == 0.0 && r["idleSeconds"].(float64) > 0 }, s.flags...)
	for file, args := range map[string][]string{
		"projections-run.txt":   {"projections"},
		"projections-run.jsonl": {"projections", "-json"},
	} {
		text := made.ReplaceAllString(succeed(t, s.with(args...)...), "${1}…")
		text = pulls.ReplaceAllString(text, "${1}N${2}")
		golden(t, file, moments.ReplaceAllString(text, `$1$2 …`))
	}
}
