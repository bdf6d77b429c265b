package bench

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/postgres"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

// BenchmarkProjection projects the end of a log and compares that with a raw
// durable consumer of nats.go that reads the same messages, and acknowledges all
// of them for every hundred. The projections are
//
//   - noop: handlers that do nothing, and are not given JSON, in memory;
//   - json: the same, and the events decoded;
//   - file: in a bbolt file, a counter for each stream;
//   - sql, and sql4 with four workers: the same in a table of PostgreSQL, with an
//     upsert for each event, where it is installed.
//
// BenchmarkRebuild is about the same with rebuilds, and a raw ordered consumer.
func BenchmarkProjection(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			l := newProjected(b, n)
			ours := l.contender("noop", runNoop)
			compare(b, "commits", ours, l.rawConsumer(b), l.contender("json", runJSON), l.contender("file", runFile(b)))
		})
	}
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("sql/events=%d", n), func(b *testing.B) {
			l := newProjected(b, n)
			l.commits /= 10 // a statement for each event
			compare(b, "commits", l.contender("sql", runSQL(b, 1)), l.contender("sql4", runSQL(b, 4)), l.contender("file", runFile(b)))
		})
	}
}

// BenchmarkRebuild rebuilds the read model of handlers that do nothing from a whole
// log, and compares that with an ordered consumer of nats.go.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("events=%d", n), func(b *testing.B) {
			l := newProjected(b, n)
			compare(b, "commits", l.contender("rebuild", runRebuild), l.rawOrdered(b))
		})
	}
}

// projected is a log to project.
type projected struct {
	server  *embedded.Server
	store   *eventstore.Store
	last    uint64 // position
	commits int    // that are projected
	events  int    // in each commit
	runs    atomic.Int64
}

func newProjected(b *testing.B, size int) *projected {
	b.Helper()
	l := &projected{server: startServer(b, true), commits: 60_000, events: size}
	if size > 1 {
		l.commits = 30_000
	}
	if testing.Short() {
		l.commits /= 30
	}
	l.store = testutil.Open(b, l.server, nil)
	const writers = 64
	var next atomic.Int64
	heads := make([]eventstore.Revision, writers*16)
	payload := events(size)
	concurrently(b, writers, l.commits, func(w int) (err error) {
		i := w*16 + int(next.Add(1))%16
		stream := eventstore.StreamID{Kind: "order", ID: strconv.Itoa(i)}
		heads[i], err = l.store.Append(b.Context(), stream, heads[i], payload, nil)
		return err
	})
	l.last = uint64(l.commits)
	return l
}

func (l *projected) contender(name string, run func(testing.TB, *projected, int)) contender {
	return contender{name: name, units: l.commits, run: func(tb testing.TB, units int) { run(tb, l, units) }}
}

// bytesCodec leaves events as they are.
type bytesCodec struct{}

type stored []byte

func (bytesCodec) Encode(e stored) (eventstore.EventData, error) {
	return eventstore.EventData{Type: "order.placed", Data: e}, nil
}

func (bytesCodec) Decode(e eventstore.Event) (stored, error) { return e.Data, nil }

type nothing struct{}

func runNoop(tb testing.TB, l *projected, units int) {
	project(tb, l, units, projection.NewMemory[nothing](nil, nil), projection.From("order", bytesCodec{},
		projection.On(func(context.Context, *nothing, stored, projection.Event) error { return nil })))
}

func runJSON(tb testing.TB, l *projected, units int) {
	project(tb, l, units, projection.NewMemory[nothing](nil, nil), projection.From("order", codec,
		projection.On(func(context.Context, *nothing, placed, projection.Event) error { return nil })))
}

func runFile(b *testing.B) func(testing.TB, *projected, int) {
	file, err := projection.OpenFile(filepath.Join(b.TempDir(), "models"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	return func(tb testing.TB, l *projected, units int) {
		project(tb, l, units, file, projection.From("order", codec,
			projection.On(func(_ context.Context, data *bbolt.Bucket, e placed, at projection.Event) error {
				key, total := []byte(at.Stream.ID), uint64(e.Price)
				if v := data.Get(key); v != nil {
					total += binary.BigEndian.Uint64(v)
				}
				return data.Put(key, binary.BigEndian.AppendUint64(nil, total))
			})))
	}
}

func runSQL(b *testing.B, workers int) func(testing.TB, *projected, int) {
	db, err := sql.Open("pgx", postgres.Start(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return func(tb testing.TB, l *projected, units int) {
		table := fmt.Sprintf("totals_%d", l.runs.Add(1))
		model, err := sqlmodel.New(db, "CREATE TABLE {"+table+"} (id TEXT PRIMARY KEY, total BIGINT NOT NULL)")
		if err != nil {
			tb.Fatal(err)
		}
		add := "INSERT INTO {" + table + "} AS t (id, total) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET total = t.total + excluded.total"
		projectWith(tb, l, units, model, projection.From("order", codec,
			projection.On(func(_ context.Context, tx *sqlmodel.Tx, e placed, at projection.Event) error {
				_, err := tx.Exec(add, at.Stream.ID, e.Price)
				return err
			})), &projection.Options{Workers: workers})
	}
}

// project projects the last commits of the log to a new read model.
func project[T any](tb testing.TB, l *projected, units int, model projection.Model[T], handlers projection.Handlers[T]) {
	projectWith(tb, l, units, model, handlers, &projection.Options{})
}

func projectWith[T any](tb testing.TB, l *projected, units int, model projection.Model[T], handlers projection.Handlers[T], opts *projection.Options) {
	opts.After = l.last - uint64(units)
	p, err := projection.New(fmt.Sprint("bench-", l.runs.Add(1)), l.store, model, handlers, opts)
	if err == nil {
		err = p.CatchUp(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func runRebuild(tb testing.TB, l *projected, units int) {
	name := fmt.Sprint("bench-", l.runs.Add(1))
	p, err := projection.New(name, l.store, projection.NewMemory[nothing](nil, nil), projection.From("order", bytesCodec{},
		projection.On(func(context.Context, *nothing, stored, projection.Event) error { return nil })),
		&projection.Options{After: l.last - uint64(units)})
	if err != nil {
		tb.Fatal(err)
	}
	done, err := p.Rebuild(tb.Context(), nil)
	if err != nil || done.Position != l.last {
		tb.Fatalf("%+v, %v", done, err)
	}
}

// rawConsumer reads through a durable consumer.
func (l *projected) rawConsumer(b *testing.B) contender {
	js, err := jetstream.New(testutil.Connect(b, l.server))
	if err != nil {
		b.Fatal(err)
	}
	return contender{name: "consumer", units: l.commits, run: func(tb testing.TB, units int) {
		name := fmt.Sprint("raw-", l.runs.Add(1))
		c, err := js.CreateConsumer(tb.Context(), l.store.Name(), jetstream.ConsumerConfig{
			Durable: name, AckPolicy: jetstream.AckAllPolicy, MaxAckPending: -1,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.last - uint64(units) + 1,
		})
		if err != nil {
			tb.Fatal(err)
		}
		messages, err := c.Messages(jetstream.PullMaxMessages(500))
		if err != nil {
			tb.Fatal(err)
		}
		for i := range units {
			m, err := messages.Next()
			if err == nil && (i%100 == 99 || i == units-1) {
				err = m.Ack()
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
		messages.Stop()
		if err := js.DeleteConsumer(tb.Context(), l.store.Name(), name); err != nil {
			tb.Fatal(err)
		}
	}}
}

func (l *projected) rawOrdered(b *testing.B) contender {
	js, err := jetstream.New(testutil.Connect(b, l.server))
	if err != nil {
		b.Fatal(err)
	}
	return contender{name: "ordered", units: l.commits, run: func(tb testing.TB, units int) {
		c, err := js.OrderedConsumer(tb.Context(), l.store.Name(), jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.last - uint64(units) + 1,
		})
		if err != nil {
			tb.Fatal(err)
		}
		messages, err := c.Messages()
		if err != nil {
			tb.Fatal(err)
		}
		for range units {
			if _, err := messages.Next(); err != nil {
				tb.Fatal(err)
			}
		}
		messages.Stop()
	}}
}

// BenchmarkProjectionLatency measures how long it takes from the beginning of an
// append until its event is in a read model, as who waits for it sees.
func BenchmarkProjectionLatency(b *testing.B) {
	server := startServer(b, true)
	store := testutil.Open(b, server, nil)
	file, err := projection.OpenFile(filepath.Join(b.TempDir(), "models"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	b.Run("memory", func(b *testing.B) {
		latency(b, store, projection.NewMemory[nothing](nil, nil), projection.From("order", codec,
			projection.On(func(context.Context, *nothing, placed, projection.Event) error { return nil })))
	})
	b.Run("sql", func(b *testing.B) {
		db, err := sql.Open("pgx", postgres.Start(b))
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		model, err := sqlmodel.New(db, "CREATE TABLE {latest} (id TEXT PRIMARY KEY, note TEXT)")
		if err != nil {
			b.Fatal(err)
		}
		latency(b, store, model, projection.From("order", codec,
			projection.On(func(_ context.Context, tx *sqlmodel.Tx, e placed, at projection.Event) error {
				_, err := tx.Exec("INSERT INTO {latest} (id, note) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET note = excluded.note", at.Stream.ID, e.Order)
				return err
			})))
	})
	b.Run("file", func(b *testing.B) {
		latency(b, store, file, projection.From("order", codec,
			projection.On(func(_ context.Context, data *bbolt.Bucket, e placed, at projection.Event) error {
				return data.Put([]byte(at.Stream.ID), []byte(e.Order))
			})))
	})
}

func latency[T any](b *testing.B, store *eventstore.Store, model projection.Model[T], handlers projection.Handlers[T]) {
	p, err := projection.New("latency", store, model, handlers, &projection.Options{After: projection.Now})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	n := 2_000
	if testing.Short() {
		n = 50
	}
	var head eventstore.Revision
	stream := eventstore.StreamID{Kind: "order", ID: fmt.Sprintf("latency-%T", model)}
	var appends, visible []float64
	for b.Loop() {
		for range n {
			start := time.Now()
			if head, err = store.Append(ctx, stream, eventstore.Any, events(1), nil); err != nil {
				b.Fatal(err)
			}
			appends = append(appends, time.Since(start).Seconds()*1e6)
			if err := p.Wait(ctx, head); err != nil {
				b.Fatal(err)
			}
			visible = append(visible, time.Since(start).Seconds()*1e6)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(appends, 0.5), "append-µs")
	b.ReportMetric(quantile(appends, 0.99), "append-p99-µs")
	b.ReportMetric(quantile(visible, 0.5), "visible-µs")
	b.ReportMetric(quantile(visible, 0.99), "visible-p99-µs")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
