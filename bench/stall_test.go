package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// BenchmarkStall appends, one commit after another, to a large log while 16
// readers load streams of it that nobody has read since the server started.
// Server, writer and readers are three processes. It reports the longest append
// and the 99th percentile, in milliseconds, medians of the rounds: while nobody
// reads ("idle"), while the readers use Store.Read ("ours"), and while they use
// a Direct Get by subject ("bysubject"), which searches and meanwhile holds a
// lock that appends need; and how many times shorter ours are. The streams have
// 10 or 200 events, anywhere in the log.
func BenchmarkStall(b *testing.B) {
	for _, each := range []int{10, 200} {
		b.Run(fmt.Sprintf("events=%d", each), func(b *testing.B) { benchmarkStall(b, each) })
	}
}

func benchmarkStall(b *testing.B, each int) {
	l := newLargeLog(b, each, false)
	loads := 160
	if testing.Short() {
		loads = 32
	}
	values := make(map[string][]float64)
	note := func(name string, s stalls) {
		values[name+"-longest-ms"] = append(values[name+"-longest-ms"], s.Longest)
		values[name+"-p99-ms"] = append(values[name+"-p99-ms"], s.P99)
	}
	for b.Loop() {
		note("idle", l.stall(b, 0, nil))
		ours := l.stall(b, loads, func(r *remote) loader {
			store := openLarge(b, r)
			return func(ctx context.Context, id eventstore.StreamID) error {
				for _, err := range store.Read(ctx, id, nil) {
					if err != nil {
						return err
					}
				}
				return nil
			}
		})
		note("ours", ours)
		bySubject := l.stall(b, loads, func(r *remote) loader {
			nc := r.connect(b)
			return func(ctx context.Context, id eventstore.StreamID) error {
				return getBySubject(ctx, nc, largeName, id, ignore)
			}
		})
		note("bysubject", bySubject)
		values["bysubject/ours-longest"] = append(values["bysubject/ours-longest"], bySubject.Longest/ours.Longest)
		values["bysubject/ours-p99"] = append(values["bysubject/ours-p99"], bySubject.P99/ours.P99)
	}
	b.ReportMetric(0, "ns/op")
	for name, v := range values {
		b.ReportMetric(quantile(v, 0.5), name)
	}
}

// A loader reads all of a stream.
type loader func(context.Context, eventstore.StreamID) error

// enough is how many appends are made where nobody reads.
const enough = 5000

// stall starts a server and a writer, and loads so many streams, or waits for
// enough appends if that is none.
func (l *largeLog) stall(b *testing.B, loads int, reader func(*remote) loader) stalls {
	b.Helper()
	const readers = 16
	r := startRemote(b, l.dir)
	defer r.stop(b)
	var load loader
	if loads > 0 {
		load = reader(r)
	}
	writer := startProcess(b, writerEnv, r.url)
	writer.line(b) // it has begun
	if loads == 0 {
		writer.line(b) // it has done enough
	}
	var reading sync.WaitGroup
	for w := range readers {
		random := rand.New(rand.NewPCG(rand.Uint64(), uint64(w)))
		reading.Go(func() {
			for range loads / readers {
				if err := load(b.Context(), l.stream(random.IntN(l.streams/64*64))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	reading.Wait()
	var s stalls
	said := strings.TrimSpace(writer.stop(b))
	if err := json.Unmarshal([]byte(said[strings.LastIndexByte(said, '\n')+1:]), &s); err != nil {
		b.Fatal(err)
	}
	return s
}

// stalls are how long appends took, in milliseconds.
type stalls struct{ Longest, P99 float64 }

// writerEnv makes the test binary a writer to the large log of the server that
// it names.
const writerEnv = "HEADWATER_BENCH_WRITER"

// write says when it begins, appends until the standard input ends, and says how
// long that took.
func write(url string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	store, err := eventstore.Open(ctx, nc, largeName, nil)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	var ms []float64
	var at eventstore.Revision
	id := eventstore.StreamID{Kind: "writer", ID: fmt.Sprint(rand.Uint64())}
	for ctx.Err() == nil {
		start := time.Now()
		if at, err = store.Append(context.Background(), id, at, events(1), nil); err != nil {
			return err
		}
		if ms = append(ms, float64(time.Since(start).Microseconds())/1000); len(ms) == 1 || len(ms) == enough {
			fmt.Println(len(ms))
		}
	}
	return json.NewEncoder(os.Stdout).Encode(stalls{quantile(ms[1:], 1), quantile(ms[1:], 0.99)})
}

func ignore(*nats.Msg) error { return nil }

// getBySubject reads all messages of a stream as the server finds them.
func getBySubject(ctx context.Context, nc *nats.Conn, log string, id eventstore.StreamID, visit func(*nats.Msg) error) error {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	body, err := json.Marshal(map[string]any{"seq": 1, "next_by_subj": log + "." + id.Kind + "." + id.ID, "batch": 1000})
	if err != nil {
		return err
	}
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+log, inbox, body); err != nil {
		return err
	}
	for n := 0; ; n++ {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		switch m.Header.Get("Status") {
		case "":
			if err := visit(m); err != nil {
				return err
			}
		case "204":
			if n == 0 {
				return errors.New("no messages")
			}
			return nil
		default:
			return fmt.Errorf("status %s", m.Header.Get("Status"))
		}
	}
}
