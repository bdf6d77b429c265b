package bench

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// BenchmarkRehydrate loads orders of 10, 100 and 1,000 events, which are spread
// over a log of a million events in 100,000 streams, in all ways there are. Each
// rival folds the events too, but for those that are named otherwise:
//
//   - "chain" is Repository.Load from the log; "read" Store.Read alone, which
//     counts the events;
//   - "snapshot" has a snapshot at the stream's end, "snapshot50" one that is 50
//     events older;
//   - "cache" is Load of a state in memory, "cached" Repository.Cached;
//   - "gets" are pipelined Direct Gets of sequences that are known beforehand,
//     which is the limit of reading by position, and "rawgets" the same without
//     a look at the data;
//   - "bysubject" is a Direct Get by subject, "consumer" an ordered consumer;
//   - "bbolt+get" is one value of a snapshot's size from bbolt and one Direct
//     Get of the stream's last message;
//   - "sqlite" is SQLite in the process.
//
// For each it reports the median and the 99th percentile in microseconds, and
// the round trips one after the other: how much longer a load takes on a
// connection whose bytes arrive later. "cold" is the median of the first load
// after a garbage collection, which takes the blocks that the server has in its
// memory; they are in that of the operating system.
//
// Collections are rare meanwhile: the blocks in the server's memory go with each.
func BenchmarkRehydrate(b *testing.B) {
	w := newWorld(b)
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for i, g := range w.history.groups {
		if g.events == w.long {
			continue
		}
		b.Run(fmt.Sprintf("events=%d", g.events), func(b *testing.B) { w.compareWays(b, i) })
	}
	b.Run("snapshots", w.compareSnapshots)
}

// A world is what the ways to load have in common, on a connection that is near
// and one whose distance is set.
type world struct {
	history   *history
	long      int // events of the one long stream
	near, far map[string]way
	distance  distance
	turn      time.Duration
}

func newWorld(b *testing.B) *world {
	size, streams, turn := 1_000_000, 100_000, 60*time.Millisecond
	if testing.Short() {
		size, streams, turn = 20_000, 2_000, time.Millisecond
	}
	w := &world{long: size / 10, turn: turn}
	of := func(events, streams int) group { return group{events, make([]string, 0, streams)} }
	w.history = newHistory(size, streams, of(w.long, 1), of(1000, 4), of(100, 8), of(10, 32))
	slices.Reverse(w.history.groups)
	server, err := embedded.Start(b.Context(), b.TempDir(), &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	nc, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	far := w.distance.connect(b, server.URL())
	// Both are opened while the log is empty, and so known to be sound.
	store, farStore := openRehydrate(b, nc), openRehydrate(b, far)
	w.history.append(b, store)
	disk := newDisk(b, w.history, store)
	known := make(map[string][]uint64)
	for _, g := range w.history.groups {
		for _, id := range g.ids {
			known[id] = positions(b, store, eventstore.StreamID{Kind: orderKind, ID: id})
		}
	}
	w.near = waysOf(b, nc, store, disk, known)
	w.far = waysOf(b, far, farStore, disk, known)
	if load, ok := sqliteWay(b, w.history); ok {
		w.near["sqlite"], w.far["sqlite"] = load, load
	}
	return w
}

func openRehydrate(tb testing.TB, nc *nats.Conn) *eventstore.Store {
	tb.Helper()
	store, err := eventstore.Open(tb.Context(), nc, "rehydrate", nil)
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

func waysOf(tb testing.TB, nc *nats.Conn, store *eventstore.Store, d *disk, known map[string][]uint64) map[string]way {
	return map[string]way{
		"chain":      loadWith(store, -1, nil),
		"read":       readOnly(store),
		"snapshot":   loadWith(store, -1, d.head),
		"snapshot50": loadWith(store, -1, d.tail),
		"cache":      loadWith(store, 0, nil),
		"cached":     peekWith(store),
		"gets":       getKnown(tb, nc, store, known, true),
		"rawgets":    getKnown(tb, nc, store, known, false),
		"bysubject":  bySubject(nc, store.Name()),
		"consumer":   byConsumer(tb, nc, store.Name()),
		"bbolt+get":  bboltAndGet(nc, store.Name(), d.raw),
	}
}

func (w *world) compareWays(b *testing.B, i int) {
	g := w.history.groups[i]
	pairs := [][2]string{{"chain", "gets"}, {"read", "rawgets"}, {"snapshot", "bbolt+get"}}
	for _, rival := range []string{"consumer", "bysubject", "sqlite"} {
		pairs = append(pairs, [2]string{"chain", rival}, [2]string{"snapshot", rival}, [2]string{"cache", rival})
	}
	var all []*entrant
	for _, name := range slices.Sorted(maps.Keys(w.near)) {
		if name == "snapshot50" && g.events <= tailSize {
			continue
		}
		all = append(all, w.entrant(b, name, name, g))
	}
	race(b, all, pairs)
}

// compareSnapshots compares snapshots of streams that are long and not so long.
func (w *world) compareSnapshots(b *testing.B) {
	var all []*entrant
	var pairs [][2]string
	for _, g := range w.history.groups {
		if g.events < 1000 {
			continue
		}
		for _, name := range []string{"snapshot", "snapshot50", "bbolt+get"} {
			all = append(all, w.entrant(b, fmt.Sprintf("%s-%d", name, g.events), name, g))
		}
		pairs = append(pairs, [2]string{fmt.Sprintf("snapshot-%d", g.events), fmt.Sprintf("bbolt+get-%d", g.events)})
	}
	for _, name := range []string{"snapshot", "snapshot50"} {
		pairs = append(pairs, [2]string{fmt.Sprintf("%s-%d", name, w.long), name + "-1000"})
	}
	race(b, all, pairs)
}

// entrant returns a way's entrant, with its round trips.
func (w *world) entrant(b *testing.B, name, way string, g group) *entrant {
	b.Helper()
	far := &entrant{name: name, group: g, load: w.far[way]}
	e := &entrant{name: name, group: g, load: w.near[way], length: w.turn}
	e.trips = w.distance.trips(func() { far.next = 0; far.once(b) })
	return e
}
