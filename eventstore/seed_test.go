package eventstore

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
)

// Scrubbed reports whether the walk over the log that began with Open is over.
func Scrubbed(s *Store) bool { return s.scrubbed.Load() > 0 }

// Seeded returns a source of random numbers that can be had again: it says its
// seed, and takes it from HEADWATER_SEED where that is set.
func Seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// Connection returns what a store reads through.
func Connection(s *Store) *nats.Conn { return s.reads.nc }

// LoseHighWater makes the store's file unusable.
func LoseHighWater(s *Store) { s.water.close() }

// Staleness is for how long a read after a revision asks again.
const Staleness = staleness

// Moved returns a revision as if it were of another log.
func Moved(s *Store, r Revision) Revision {
	r.of = &origin{s.identity, r.of.stream, r.of.mark}
	return r
}
