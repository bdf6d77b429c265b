package snapshot

import (
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Policy says whether it is time for a snapshot of a stream. It is asked after
// each load and each append, from several goroutines, and is to be quick.
type Policy func(Progress) bool

// Progress is what has happened to a stream since its last snapshot, or since
// its beginning.
type Progress struct {
	Stream  eventstore.StreamID
	Version uint64 // where the stream stands
	Events  uint64 // since the last snapshot, 1 or more
	// Cost is what it takes to read and fold these events, estimated from what
	// that took for others of the kind.
	Cost time.Duration
}

// Every returns the policy to take a snapshot when there are n events, or more,
// since the last one. What is left to replay is then fewer than n events.
func Every(n uint64) Policy { return func(p Progress) bool { return p.Events >= n } }

// Costing returns the policy to take a snapshot when it takes so long, or
// longer, to replay what happened since the last one.
func Costing(d time.Duration) Policy { return func(p Progress) bool { return p.Cost >= d } }

// Never is the policy to take none: what is there is used.
func Never(Progress) bool { return false }
