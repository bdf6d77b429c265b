package bench

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams that are loaded have so many events, one a commit.
var loadSizes = []int{10, 100, 1000}

// BenchmarkLoad compares Store.Read of a whole stream against what reads the
// same messages and only counts their bytes: "gets" are pipelined Direct Gets
// of sequences that are known beforehand, which is the limit of reading by
// position; "consumer" is an ordered consumer filtered by the subject.
//
// The stream's commits stand one after another in the middle of the log, or
// spread evenly over all of it.
func BenchmarkLoad(b *testing.B) {
	server := testutil.Server(b)
	store := testutil.Open(b, server, nil)
	fillLog(b, store)
	for _, n := range loadSizes {
		for _, layout := range []string{"adjacent", "spread"} {
			b.Run(fmt.Sprintf("events=%d/layout=%s", n, layout), func(b *testing.B) {
				benchmarkLoad(b, server, store, eventstore.StreamID{Kind: layout, ID: strconv.Itoa(n)}, n)
			})
		}
	}
}

func benchmarkLoad(b *testing.B, server *embedded.Server, store *eventstore.Store, stream eventstore.StreamID, n int) {
	loads := max(2000/n, 8)
	if testing.Short() {
		loads = max(loads/16, 1)
	}
	ours := contender{name: "ours", units: loads, run: loadOurs(store, stream, n)}
	gets := contender{name: "gets", units: loads, run: loadGets(b, server, store, stream, n)}
	consumer := contender{name: "consumer", units: max(loads/16, 1), run: loadConsumer(b, server, store, stream, n)}
	compare(b, "loads", ours, gets, consumer)
}

// fillLog appends the streams to be loaded among many others.
func fillLog(tb testing.TB, store *eventstore.Store) {
	tb.Helper()
	size := 200_000
	if testing.Short() {
		size = 8_000
	}
	start := time.Now()
	f := filler{store: store, spread: make([]series, len(loadSizes)), size: size}
	f.fill(tb, 0, size/2)
	for _, n := range loadSizes {
		adjacent := series{stream: eventstore.StreamID{Kind: "adjacent", ID: strconv.Itoa(n)}}
		for range n {
			if err := adjacent.append(tb, store); err != nil {
				tb.Fatal(err)
			}
		}
	}
	f.fill(tb, size/2, size)
	tb.Logf("a log of %d commits, appended in %v", size, time.Since(start).Round(time.Millisecond))
}

// series is a stream that grows by one event a commit.
type series struct {
	mu     sync.Mutex
	stream eventstore.StreamID
	head   eventstore.Revision
}

func (s *series) append(tb testing.TB, store *eventstore.Store) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head, err = store.Append(tb.Context(), s.stream, s.head, events(1), nil)
	return err
}

// A filler appends size commits, those of the spread streams at even distances.
type filler struct {
	store  *eventstore.Store
	size   int
	spread []series // of loadSizes
}

func (f *filler) fill(tb testing.TB, from, to int) {
	const workers, each = 64, 20 // commits of a stream that only fills
	for i, n := range loadSizes {
		f.spread[i].stream = eventstore.StreamID{Kind: "spread", ID: strconv.Itoa(n)}
	}
	var next atomic.Int64
	next.Store(int64(from))
	others := make([]series, workers)
	concurrently(tb, workers, to-from, func(w int) error {
		at := int(next.Add(1)) - 1
		for i, n := range loadSizes {
			if at%(f.size/n) == i {
				return f.spread[i].append(tb, f.store)
			}
		}
		other := &others[w]
		if other.head.Version%each == 0 {
			other.stream = eventstore.StreamID{Kind: "filler", ID: strconv.Itoa(at)}
			other.head = eventstore.Revision{}
		}
		return other.append(tb, f.store)
	})
}

func loadOurs(store *eventstore.Store, stream eventstore.StreamID, n int) func(testing.TB, int) {
	return func(tb testing.TB, loads int) {
		ctx := tb.Context()
		for range loads {
			size := 0
			for e, err := range store.Read(ctx, stream, nil) {
				if err != nil {
					tb.Fatal(err)
				}
				size += len(e.Data)
			}
			complete(tb, size, n)
		}
	}
}

func loadGets(tb testing.TB, server *embedded.Server, store *eventstore.Store, stream eventstore.StreamID, n int) func(testing.TB, int) {
	get := pipelinedGets(tb, testutil.Connect(tb, server), store.Name())
	sequences := positions(tb, store, stream)
	return func(tb testing.TB, loads int) {
		for range loads {
			size := 0
			err := get(sequences, func(m *nats.Msg) error { size += len(m.Data); return nil })
			if err != nil {
				tb.Fatal(err)
			}
			complete(tb, size, n)
		}
	}
}

// pipelinedGets returns what fetches messages by sequence with as many requests
// under way as the store has at most, all answered to one subscription.
func pipelinedGets(tb testing.TB, nc *nats.Conn, log string) func(sequences []uint64, visit func(*nats.Msg) error) error {
	tb.Helper()
	const pipelined = 256
	subject := "$JS.API.DIRECT.GET." + log
	replies := make(chan *nats.Msg, pipelined)
	inbox := nc.NewInbox()
	if _, err := nc.ChanSubscribe(inbox, replies); err != nil {
		tb.Fatal(err)
	}
	return func(sequences []uint64, visit func(*nats.Msg) error) error {
		for sent, got := 0, 0; got < len(sequences); got++ {
			for ; sent < len(sequences) && sent-got < pipelined; sent++ {
				request := append(strconv.AppendUint([]byte(`{"seq":`), sequences[sent], 10), '}')
				if err := nc.PublishRequest(subject, inbox, request); err != nil {
					return err
				}
			}
			if err := visit(<-replies); err != nil {
				return err
			}
		}
		return nil
	}
}

func positions(tb testing.TB, store *eventstore.Store, stream eventstore.StreamID) []uint64 {
	tb.Helper()
	var list []uint64
	for e, err := range store.Read(tb.Context(), stream, nil) {
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, e.Position)
	}
	return list
}

func loadConsumer(tb testing.TB, server *embedded.Server, store *eventstore.Store, stream eventstore.StreamID, n int) func(testing.TB, int) {
	js, err := jetstream.New(testutil.Connect(tb, server))
	if err != nil {
		tb.Fatal(err)
	}
	subject := store.Name() + "." + stream.Kind + "." + stream.ID
	return func(tb testing.TB, loads int) {
		for range loads {
			size := 0
			err := consume(tb.Context(), js, store.Name(), subject, n, func(m jetstream.Msg) error {
				size += len(m.Data())
				return nil
			})
			if err != nil {
				tb.Fatal(err)
			}
			complete(tb, size, n)
		}
	}
}

// consume reads the n messages of a subject through an ordered consumer that
// is there for this load only.
func consume(ctx context.Context, js jetstream.JetStream, log, subject string, n int, visit func(jetstream.Msg) error) error {
	consumer, err := js.OrderedConsumer(ctx, log, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for range n {
		m, err := messages.Next()
		if err == nil {
			err = visit(m)
		}
		if err != nil {
			return err
		}
	}
	return js.DeleteConsumer(ctx, log, consumer.CachedInfo().Name)
}

func complete(tb testing.TB, size, n int) {
	if size != n*payloadSize {
		tb.Fatalf("%d bytes were loaded, and the stream has %d", size, n*payloadSize)
	}
}
