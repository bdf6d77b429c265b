package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// BenchmarkStall appends, one commit after another, to a large log while 16
// readers load streams of it that nobody has read since the server started. It
// reports the longest append and the 99th percentile, in milliseconds: while
// nobody reads ("idle"), while the readers use Store.Read ("ours"), and while
// they use a Direct Get by subject ("bysubject"), which searches and holds a
// lock meanwhile that appends need; and how many times shorter ours are.
func BenchmarkStall(b *testing.B) {
	l := newLargeLog(b, 2)
	loads := 1600
	if testing.Short() {
		loads = 64
	}
	for b.Loop() {
		idle := l.stall(b, 0, nil)
		ours := l.stall(b, loads, func(p *process) loader {
			store := openLarge(b, p)
			return func(ctx context.Context, id eventstore.StreamID) error {
				for _, err := range store.Read(ctx, id, nil) {
					if err != nil {
						return err
					}
				}
				return nil
			}
		})
		bySubject := l.stall(b, loads, func(p *process) loader {
			nc := p.connect(b)
			return func(ctx context.Context, id eventstore.StreamID) error { return getBySubject(ctx, nc, id) }
		})
		for name, s := range map[string]stalls{"idle": idle, "ours": ours, "bysubject": bySubject} {
			b.ReportMetric(s.longest, name+"-longest-ms")
			b.ReportMetric(s.p99, name+"-p99-ms")
		}
		b.ReportMetric(ours.loads, "ours-loads/s")
		b.ReportMetric(bySubject.loads, "bysubject-loads/s")
		b.ReportMetric(bySubject.longest/ours.longest, "bysubject/ours-longest")
		b.ReportMetric(bySubject.p99/ours.p99, "bysubject/ours-p99")
	}
	b.ReportMetric(0, "ns/op")
}

// A loader reads all of a stream.
type loader func(context.Context, eventstore.StreamID) error

// stalls are how long appends took, in milliseconds, and loads a second.
type stalls struct{ longest, p99, loads float64 }

// stall starts a server, and appends until so many loads are done, or for two
// seconds if there are none.
func (l *largeLog) stall(b *testing.B, loads int, reader func(*process) loader) stalls {
	b.Helper()
	const readers = 16
	p := startProcess(b, l.dir)
	defer p.stop(b)
	writer := openLarge(b, p)
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
	if loads > 0 {
		ctx, cancel = context.WithCancel(b.Context())
	}
	defer cancel()
	var reading sync.WaitGroup
	begin := time.Now()
	var took time.Duration
	if loads > 0 {
		load := reader(p)
		begin = time.Now()
		for r := range readers {
			random := rand.New(rand.NewPCG(uint64(loads), uint64(r)))
			reading.Go(func() {
				for range loads / readers {
					if err := load(b.Context(), l.stream(random.IntN(l.streams/64*64))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		go func() { reading.Wait(); took = time.Since(begin); cancel() }()
	}
	var ms []float64
	var at eventstore.Revision
	id := eventstore.StreamID{Kind: "writer", ID: fmt.Sprint(rand.Uint64())}
	for ctx.Err() == nil {
		start := time.Now()
		next, err := writer.Append(b.Context(), id, at, events(1), nil)
		if err != nil {
			b.Fatal(err)
		}
		at = next
		ms = append(ms, float64(time.Since(start).Microseconds())/1000)
	}
	return stalls{quantile(ms, 1), quantile(ms, 0.99), float64(loads) / max(took.Seconds(), 1e-9)}
}

// getBySubject reads all messages of a stream as the server finds them.
func getBySubject(ctx context.Context, nc *nats.Conn, id eventstore.StreamID) error {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	body, err := json.Marshal(map[string]any{"seq": 1, "next_by_subj": largeName + "." + id.Kind + "." + id.ID, "batch": 1000})
	if err != nil {
		return err
	}
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+largeName, inbox, body); err != nil {
		return err
	}
	for n := 0; ; n++ {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		switch m.Header.Get("Status") {
		case "":
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
