package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const payloadSize = 256

// payload is the data of every event: a JSON object of payloadSize bytes.
var payload = func() []byte {
	head, tail := []byte(`{"order":"7f3c","quantity":3,"price":1999,"note":"`), []byte(`"}`)
	fill := bytes.Repeat([]byte("x"), payloadSize-len(head)-len(tail))
	return slices.Concat(head, fill, tail)
}()

func events(n int) []eventstore.EventData {
	e := eventstore.EventData{Type: "order.placed", ContentType: "application/json", Data: payload}
	return slices.Repeat([]eventstore.EventData{e}, n)
}

// BenchmarkAppend compares Store.Append with a held Revision against a
// jetstream PublishMsg of the same payload, guarded and deduplicated in the
// same way. Each writer has a stream, or subject, of its own; each side has
// one connection.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 10} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("events=%d/writers=%d/sync=relaxed", n, writers), func(b *testing.B) {
				benchmarkAppend(b, n, writers, true)
			})
		}
	}
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("events=1/writers=%d/sync=always", writers), func(b *testing.B) {
			benchmarkAppend(b, 1, writers, false)
		})
	}
}

func benchmarkAppend(b *testing.B, n, writers int, relaxed bool) {
	server := startServer(b, relaxed)
	store := testutil.Open(b, server, nil)
	ours := contender{name: "ours", units: appendTurn(writers, relaxed), run: appendOurs(store, n, writers)}
	raw := contender{name: "raw", units: ours.units, run: appendRaw(b, server, n, writers)}
	compare(b, "commits", ours, raw)
}

// appendTurn returns how many commits make a turn of some fifty milliseconds.
func appendTurn(writers int, relaxed bool) int {
	each := 1024
	if writers > 1 {
		each = 32
	}
	if !relaxed {
		each /= 8
	}
	if testing.Short() {
		each = max(each/16, 1)
	}
	return each * writers
}

func startServer(tb testing.TB, relaxed bool) *embedded.Server {
	tb.Helper()
	if relaxed {
		return testutil.Server(tb)
	}
	server, err := embedded.Start(tb.Context(), tb.TempDir(), nil)
	if err != nil {
		tb.Fatalf("start a server: %v", err)
	}
	tb.Cleanup(func() { server.Close() })
	return server
}

// concurrently shares units out among workers, and runs them all at once.
func concurrently(tb testing.TB, workers, units int, do func(worker int) error) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < units; i += workers {
				if err := do(w); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
}

func appendOurs(store *eventstore.Store, n, writers int) func(testing.TB, int) {
	commit := events(n)
	heads := make([]eventstore.Revision, writers)
	return func(tb testing.TB, commits int) {
		ctx := tb.Context()
		concurrently(tb, writers, commits, func(w int) (err error) {
			stream := eventstore.StreamID{Kind: "order", ID: strconv.Itoa(w)}
			heads[w], err = store.Append(ctx, stream, heads[w], commit, nil)
			return err
		})
	}
}

func appendRaw(tb testing.TB, server *embedded.Server, n, writers int) func(testing.TB, int) {
	js, log := rawLog(tb, server)
	body := bytes.Repeat(payload, n)
	heads := make([]uint64, writers)
	return func(tb testing.TB, commits int) {
		ctx := tb.Context()
		concurrently(tb, writers, commits, func(w int) error {
			ack, err := js.PublishMsg(ctx, &nats.Msg{
				Subject: log + ".order." + strconv.Itoa(w),
				Header: nats.Header{
					jetstream.MsgIDHeader:               {uuid.NewString()},
					jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(heads[w], 10)},
				},
				Data: body,
			})
			if err == nil {
				heads[w] = ack.Sequence
			}
			return err
		})
	}
}

// rawLog makes a JetStream stream with the settings of the store's log.
func rawLog(tb testing.TB, server *embedded.Server) (jetstream.JetStream, string) {
	tb.Helper()
	const name = "raw"
	js, err := jetstream.New(testutil.Connect(tb, server))
	if err != nil {
		tb.Fatal(err)
	}
	log, err := js.Stream(tb.Context(), "test")
	if err != nil {
		tb.Fatal(err)
	}
	cfg := log.CachedInfo().Config
	cfg.Name, cfg.Subjects = name, []string{name + ".*.*"}
	if _, err := js.CreateStream(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
	return js, name
}
