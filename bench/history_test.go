package bench

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// A history says which stream each event of a log belongs to. The streams to be
// loaded come first, their events at even distances over all of it; what is left
// belongs to the others, at random.
type history struct {
	streams []eventstore.StreamID
	order   []int32 // of streams, one for each event
	groups  []group // to be loaded
}

// A group are streams with equally many events.
type group struct {
	events int
	ids    []string
}

const orderKind = "order"

func newHistory(events, streams int, groups ...group) *history {
	h := &history{order: make([]int32, events)}
	for i := range h.order {
		h.order[i] = -1
	}
	for _, g := range groups {
		for s := range cap(g.ids) {
			id := fmt.Sprintf("%d-%d", g.events, s)
			g.ids = append(g.ids, id)
			h.spread(eventstore.StreamID{Kind: orderKind, ID: id}, g.events)
		}
		h.groups = append(h.groups, g)
	}
	loaded := len(h.streams)
	for i := loaded; i < streams; i++ {
		h.streams = append(h.streams, eventstore.StreamID{Kind: "filler", ID: fmt.Sprint(i)})
	}
	random := rand.New(rand.NewPCG(1, 2))
	next := loaded
	for i, s := range h.order {
		if s >= 0 {
			continue
		}
		// Each stream has one event at least.
		h.order[i] = int32(loaded + random.IntN(streams-loaded))
		if next < streams {
			h.order[i] = int32(next)
			next++
		}
	}
	return h
}

// spread gives a stream n places, or the next ones that are free.
func (h *history) spread(stream eventstore.StreamID, n int) {
	s := int32(len(h.streams))
	h.streams = append(h.streams, stream)
	for k := range n {
		at := (k*len(h.order)/n + len(h.order)/n/2) % len(h.order)
		for h.order[at] >= 0 {
			at = (at + 1) % len(h.order)
		}
		h.order[at] = s
	}
}

// append appends the history to an empty log.
func (h *history) append(tb testing.TB, store *eventstore.Store) {
	tb.Helper()
	const writers = 64
	start := time.Now()
	all := make([]series, len(h.streams))
	for i := range all {
		all[i].stream = h.streams[i]
	}
	var next atomic.Int64
	concurrently(tb, writers, len(h.order), func(int) error {
		return all[h.order[next.Add(1)-1]].append(tb, store)
	})
	tb.Logf("a log of %d events in %d streams, appended in %v", len(h.order), len(h.streams), time.Since(start).Round(time.Millisecond))
}
