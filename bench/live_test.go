package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// BenchmarkLive says what it costs appends that the log has a live feed, and that
// somebody listens to it: logs on one server, appended to in the same way.
func BenchmarkLive(b *testing.B) {
	for _, listeners := range []int{0, 1, 8} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("listeners=%d/writers=%d", listeners, writers), func(b *testing.B) {
				benchmarkLive(b, listeners, writers)
			})
		}
	}
}

func benchmarkLive(b *testing.B, listeners, writers int) {
	server := startServer(b, true)
	open := func(name string, live bool) *eventstore.Store {
		store, err := eventstore.Open(b.Context(), testutil.Connect(b, server), name, &eventstore.Options{Live: live})
		if err != nil {
			b.Fatal(err)
		}
		return store
	}
	plain := contender{name: "plain", units: appendTurn(writers, true), run: appendOurs(open("plain", false), 1, writers)}
	live := contender{name: "live", units: plain.units, run: appendOurs(open("lively", true), 1, writers)}
	stop := hearAll(b, server, "lively", listeners)
	defer stop()
	compare(b, "commits", live, plain)
}

// hearAll has a log's live feed heard by so many, each on a connection of its own,
// until stopped.
func hearAll(b *testing.B, server *embedded.Server, log string, listeners int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var subscribed, listening sync.WaitGroup
	for range listeners {
		nc := testutil.Connect(b, server)
		subscribed.Add(1)
		opts := &eventstore.LiveOptions{Subscribed: subscribed.Done}
		listening.Go(func() {
			for _, err := range eventstore.Live(ctx, nc, log, opts) {
				if err != nil && !errors.Is(err, context.Canceled) {
					b.Error(err)
				}
			}
		})
	}
	subscribed.Wait()
	return func() { cancel(); listening.Wait() }
}
