package snapshot_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
)

type CounterEvent interface {
	eventstore.Typed
	isCounterEvent()
}

type Counted struct{}

func (Counted) EventType() string { return "counter.counted" }
func (Counted) isCounterEvent()   {}

var counterCodec = eventstore.JSON[CounterEvent](Counted{})

// Counter is how often something was counted.
type Counter struct{ Value int }

func (c Counter) Evolve(CounterEvent) Counter { return Counter{Value: c.Value + 1} }

type Count struct{}

func (Count) Decide(Counter) ([]CounterEvent, error) { return []CounterEvent{Counted{}}, nil }

// A file of snapshots is opened once and handed to the repositories.
func Example() {
	ctx := context.Background()
	store, dir, stop := startServer(ctx)
	defer stop()
	snapshots, err := snapshot.Open(filepath.Join(dir, "counters.snapshots"), nil)
	if err != nil {
		panic(err)
	}
	defer snapshots.Close()

	opts := &aggregate.Options{Snapshots: snapshots, Policy: snapshot.Every(10)}
	counters := aggregate.NewRepository[Counter](store, "counter", counterCodec, opts)
	for range 25 {
		if _, _, err := counters.Execute(ctx, "visits", Count{}, nil); err != nil {
			panic(err)
		}
	}
	if err := snapshots.Flush(ctx); err != nil { // as Close does
		panic(err)
	}

	// Another process, or this one after a restart, reads the last 5 events only.
	counters = aggregate.NewRepository[Counter](store, "counter", counterCodec, opts)
	counter, at, err := counters.Load(ctx, "visits")
	fmt.Println(counter.Value, at, err, "from a snapshot:", counters.Stats().FromSnapshot)
	// Output: 25 version 25 <nil> from a snapshot: 1
}

// What has not been used for long is removed, and the file made smaller.
func ExampleStore_Prune() {
	ctx := context.Background()
	store, dir, stop := startServer(ctx)
	defer stop()
	snapshots, err := snapshot.Open(filepath.Join(dir, "counters.snapshots"), nil)
	if err != nil {
		panic(err)
	}
	defer snapshots.Close()
	counters := aggregate.NewRepository[Counter](store, "counter", counterCodec, &aggregate.Options{
		Snapshots: snapshots,
		Policy:    snapshot.Every(1),
	})
	for _, id := range []string{"visits", "visitors"} {
		if _, _, err := counters.Execute(ctx, id, Count{}, nil); err != nil {
			panic(err)
		}
	}

	monthAgo := time.Now().AddDate(0, -1, 0)
	old := func(i snapshot.Info) bool {
		return i.Damage != nil || i.Log != store.Identity() || i.Taken.Before(monthAgo)
	}
	removed, err := snapshots.Prune(ctx, old)
	fmt.Println(removed, err)
	fmt.Println(snapshots.Compact(ctx))
	n := 0
	for info, err := range snapshots.List(ctx) {
		if err != nil {
			panic(err)
		}
		if n++; info.Stream.ID == "visits" {
			fmt.Println(info.Stream, "at version", info.Version)
		}
	}
	fmt.Println(n, "are left")
	// Output:
	// 0 <nil>
	// <nil>
	// counter/visits at version 1
	// 2 are left
}

// startServer starts a server in this process with a log on it.
func startServer(ctx context.Context) (store *eventstore.Store, dir string, stop func()) {
	dir, err := os.MkdirTemp("", "counters")
	if err != nil {
		panic(err)
	}
	server, err := embedded.Start(ctx, filepath.Join(dir, "data"), nil)
	if err != nil {
		panic(err)
	}
	nc, err := server.Connect()
	if err != nil {
		panic(err)
	}
	store, err = eventstore.Open(ctx, nc, "counters", nil)
	if err != nil {
		panic(err)
	}
	return store, dir, func() {
		server.Close()
		os.RemoveAll(dir)
	}
}
