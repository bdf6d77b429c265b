package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

// A way is one way to load an order.
type way func(ctx context.Context, id string) (order, error)

type repository = aggregate.Repository[order, event]

// tailSize is how many events there are after the older ones of the snapshots.
const tailSize = 50

// disk is what there is in files besides the log.
type disk struct {
	head, tail *snapshot.Store // at the streams' ends, and before their tails
	raw        *bbolt.DB       // values as large as the snapshots at the ends
}

// newDisk takes the snapshots of a history's orders.
func newDisk(tb testing.TB, h *history, store *eventstore.Store) *disk {
	tb.Helper()
	dir := tb.TempDir()
	d := &disk{head: openSnapshots(tb, dir, "head"), tail: openSnapshots(tb, dir, "tail")}
	for _, g := range h.groups {
		take(tb, store, d.head, g)
		take(tb, until{store, uint64(max(g.events-tailSize, 0))}, d.tail, g)
	}
	var err error
	if d.raw, err = bbolt.Open(filepath.Join(dir, "raw"), 0o600, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.raw.Close() })
	err = d.raw.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("raw"))
		for info, wrong := range d.head.List(tb.Context()) {
			value := make([]byte, info.Size)
			binary.BigEndian.PutUint64(value, info.Version)
			err = errors.Join(err, wrong, bucket.Put([]byte(info.Stream.ID), value))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func openSnapshots(tb testing.TB, dir, name string) *snapshot.Store {
	tb.Helper()
	s, err := snapshot.Open(filepath.Join(dir, name), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// take takes the snapshots of a group's orders.
func take(tb testing.TB, from aggregate.Store, to *snapshot.Store, g group) {
	tb.Helper()
	orders := repositoryOf(from, &aggregate.Options{Cache: -1, Snapshots: to, Policy: snapshot.Every(1)})
	for _, id := range g.ids {
		if _, _, err := orders.Load(tb.Context(), id); err != nil {
			tb.Fatal(err)
		}
	}
	if err := to.Flush(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// until is a store whose streams end at a version; at 0 they are empty.
type until struct {
	*eventstore.Store
	version uint64
}

func (u until) Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	if u.version == 0 {
		return func(func(eventstore.Event, error) bool) {}
	}
	shorter := *opts
	shorter.To = u.version
	return u.Store.Read(ctx, stream, &shorter)
}

func repositoryOf(store aggregate.Store, opts *aggregate.Options) *repository {
	return aggregate.NewRepository[order](store, orderKind, codec, opts)
}

// loadWith loads with a repository. Of its snapshots it takes none itself.
func loadWith(store *eventstore.Store, cache int, snapshots *snapshot.Store) way {
	orders := repositoryOf(store, &aggregate.Options{Cache: cache, Snapshots: snapshots, Policy: snapshot.Never})
	return func(ctx context.Context, id string) (order, error) {
		o, _, err := orders.Load(ctx, id)
		return o, err
	}
}

// peekWith asks for the state in memory.
func peekWith(store *eventstore.Store) way {
	orders := repositoryOf(store, nil)
	return func(ctx context.Context, id string) (o order, err error) {
		o, _, ok := orders.Cached(id)
		if !ok {
			o, _, err = orders.Load(ctx, id)
		}
		return o, err
	}
}

// readOnly reads the events, which it only counts.
func readOnly(store *eventstore.Store) way {
	return func(ctx context.Context, id string) (o order, err error) {
		for _, err := range store.Read(ctx, eventstore.StreamID{Kind: orderKind, ID: id}, nil) {
			if err != nil {
				return o, err
			}
			o.Events++
		}
		return o, nil
	}
}

// getKnown fetches messages of sequences that are known, and folds them if wanted.
func getKnown(tb testing.TB, nc *nats.Conn, store *eventstore.Store, known map[string][]uint64, fold bool) way {
	get := pipelinedGets(tb, nc, store.Name())
	return func(_ context.Context, id string) (o order, err error) {
		err = get(known[id], func(m *nats.Msg) (err error) {
			if !fold {
				o.Events++
				return nil
			}
			o, err = o.fold(m.Data)
			return err
		})
		return o, err
	}
}

// bySubject lets the server find the messages of the order's subject.
func bySubject(nc *nats.Conn, log string) way {
	return func(ctx context.Context, id string) (o order, err error) {
		err = getBySubject(ctx, nc, log, eventstore.StreamID{Kind: orderKind, ID: id}, func(m *nats.Msg) (err error) {
			o, err = o.fold(m.Data)
			return err
		})
		return o, err
	}
}

// byConsumer makes an ordered consumer for each load.
func byConsumer(tb testing.TB, nc *nats.Conn, log string) way {
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return func(ctx context.Context, id string) (o order, err error) {
		size, _, _ := strings.Cut(id, "-")
		n, err := strconv.Atoi(size)
		if err != nil {
			return o, err
		}
		err = consume(ctx, js, log, log+"."+orderKind+"."+id, n, func(m jetstream.Msg) (err error) {
			o, err = o.fold(m.Data())
			return err
		})
		return o, err
	}
}

// bboltAndGet is what the load of a snapshot at the stream's end comes to at
// least: a value from the disk, and a question whether there is more.
func bboltAndGet(nc *nats.Conn, log string, raw *bbolt.DB) way {
	return func(ctx context.Context, id string) (o order, err error) {
		var value []byte
		err = raw.View(func(tx *bbolt.Tx) error {
			value = append(value, tx.Bucket([]byte("raw")).Get([]byte(id))...)
			return nil
		})
		if err != nil {
			return o, err
		}
		m, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+log+"."+log+"."+orderKind+"."+id, nil)
		if err != nil {
			return o, err
		}
		if len(m.Data) != payloadSize {
			return o, fmt.Errorf("a message of %d bytes", len(m.Data))
		}
		o.Events = int(binary.BigEndian.Uint64(value))
		return o, nil
	}
}
