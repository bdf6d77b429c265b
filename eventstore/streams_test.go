package eventstore_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var streamsItems = []item{
	{"53 whoever stops listing leaves nothing behind", stopListing},
	{"a stream whose end is no commit cannot be listed", streamsForeign},
}

func listed(t *testing.T, heads iter.Seq2[eventstore.StreamHead, error]) []eventstore.StreamHead {
	t.Helper()
	var all []eventstore.StreamHead
	for h, err := range heads {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

func stopListing(t *testing.T, s site) {
	log := s.log(t, "stop-listing", nil)
	scatter(t, log, 100)
	count := s.consumers(t, log.Name())
	for _, limit := range []int{1, 5, 1000} {
		n := 0
		for _, err := range log.Streams(t.Context(), "", 0) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == limit {
				break
			}
		}
		wantNone(t, count)
	}
}

func streamsForeign(t *testing.T, s site) {
	nc := s.jetStream(t)
	log := s.open(t, nc.Conn(), "streams-foreign", nil)
	for i := range 3 {
		add(t, log, eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}, eventstore.NoStream, events("a"), nil)
	}
	if _, err := nc.Publish(t.Context(), "streams-foreign.order.1", []byte("foreign")); err != nil {
		t.Fatal(err)
	}
	var last error
	n := 0
	for _, err := range log.Streams(t.Context(), "", 0) {
		if last = err; err == nil {
			n++
		}
	}
	var damage *eventstore.CorruptionError
	if !errors.As(last, &damage) || damage.Position != 4 || damage.Stream.ID != "1" || n != 2 {
		t.Errorf("after %d streams: %v", n, last)
	}
}
