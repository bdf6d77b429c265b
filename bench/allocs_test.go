package bench

import (
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// The server is in the same process, so its allocations are counted too.

// settled is how many commits a stream has when its allocations are counted:
// enough that each commit names many earlier ones.
const settled = 100

// BenchmarkAppendAllocs counts the allocations of an append of one event.
func BenchmarkAppendAllocs(b *testing.B) {
	store := testutil.Store(b)
	s := settledStream(b, store)
	commit := events(1)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if s.head, err = store.Append(b.Context(), s.stream, s.head, commit, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadAllocs counts those of reading a stream of 100 events.
func BenchmarkReadAllocs(b *testing.B) {
	store := testutil.Store(b)
	load := loadOurs(store, settledStream(b, store).stream, settled)
	load(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		load(b, 1)
	}
}

func settledStream(tb testing.TB, store *eventstore.Store) *series {
	tb.Helper()
	s := &series{stream: eventstore.StreamID{Kind: "order", ID: "1"}}
	for range settled {
		if err := s.append(tb, store); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}
