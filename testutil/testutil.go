// Package testutil runs what a test of an event-sourced program needs: real
// JetStream servers in the process, a store in one call, and a scenario for a
// decider without any server.
//
//	store := testutil.Store(t)
//
// Everything ends with the test. A store opened here is verified then, and a
// damaged log fails the test.
package testutil

import (
	"context"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// patience bounds what should never take long, so that a broken test ends.
const patience = time.Minute

// Server starts a server of one node on a temporary folder, with file storage
// that is not synced on every write. It fails the test if that fails.
func Server(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatalf("start a server: %v", err)
	}
	t.Cleanup(func() { closed(t, s.Close()) })
	return s
}

// Cluster starts a cluster of three nodes in this process, as [Server] does for
// one.
func Cluster(t testing.TB) *embedded.Cluster {
	t.Helper()
	c, err := embedded.StartCluster(t.Context(), t.TempDir(), 3, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	t.Cleanup(func() { closed(t, c.Close()) })
	return c
}

func closed(t testing.TB, err error) {
	if err != nil {
		t.Errorf("stop the server: %v", err)
	}
}

// Connector is what gives connections: a server or a cluster.
type Connector interface {
	Connect(opts ...nats.Option) (*nats.Conn, error)
}

// Connect returns a connection to on. It fails the test if that fails.
func Connect(t testing.TB, on Connector) *nats.Conn {
	t.Helper()
	nc, err := on.Connect()
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Store returns a store on a new server and an empty log.
func Store(t testing.TB) *eventstore.Store {
	t.Helper()
	return Open(t, Server(t), nil)
}

// Open opens the log "test" on a server or cluster, on a connection of its own,
// and verifies it when the test ends. It fails the test if that fails.
func Open(t testing.TB, on Connector, opts *eventstore.Options) *eventstore.Store {
	t.Helper()
	store, err := eventstore.Open(t.Context(), Connect(t, on), "test", opts)
	if err != nil {
		t.Fatalf("open a log: %v", err)
	}
	t.Cleanup(func() { verify(t, store) })
	return store
}

func verify(t testing.TB, store *eventstore.Store) {
	// The test's own context has ended by now.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	report, err := store.Verify(ctx, nil)
	if err != nil {
		t.Errorf("verify the log %s: %v", store.Name(), err)
	}
	for _, damage := range report.Damage {
		t.Errorf("verify: %v", damage)
	}
}
