package storetest

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var limitItems = []item{
	{"29 a commit of 1,001 events", thousandEvents},
	{"29 a commit of very many events is stored whole or refused", veryManyEvents},
	{"30 a very large commit is stored whole or refused", veryLarge},
	{"31 many appends of several events at once", manyAtOnce},
}

func numbered(n int) []eventstore.EventData {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(i)
	}
	return events(all...)
}

func thousandEvents(t *testing.T, s suite) {
	id := s.stream()
	at := add(t, s.shared, id, eventstore.NoStream, numbered(1001), nil)
	at = add(t, s.shared, id, at, numbered(10_000), nil)
	if at.Version != 11_001 {
		t.Errorf("after 11,001 events the stream is at %+v", at)
	}
	wantEvents(t, history(t, s.shared, id), append(numbered(1001), numbered(10_000)...))
}

func veryManyEvents(t *testing.T, s suite) {
	wholeOrRefused(t, s, numbered(100_000), nil)
}

func veryLarge(t *testing.T, s suite) {
	large := events(strings.Repeat("x", 100_000))
	for range 20 {
		large = append(large, large[0])
	}
	wholeOrRefused(t, s, large, nil)
	wholeOrRefused(t, s, events("a"), &eventstore.AppendOptions{Metadata: map[string]string{"long": strings.Repeat("x", 2<<20)}})
}

// wholeOrRefused appends what may be over a limit of the store.
func wholeOrRefused(t *testing.T, s suite, data []eventstore.EventData, opts *eventstore.AppendOptions) {
	t.Helper()
	for _, expected := range []eventstore.Expectation{head(t, s.shared, s.stream()), eventstore.Any} {
		before := history(t, s.shared, s.stream())
		at, err := s.shared.Append(t.Context(), s.stream(), expected, data, opts)
		after := history(t, s.shared, s.stream())[len(before):]
		if err == nil {
			if at.Version != uint64(len(before)+len(data)) {
				t.Errorf("%d events after version %d are at %+v", len(data), len(before), at)
			}
			wantEvents(t, after, data)
			if opts != nil && !maps.Equal(after[0].Metadata, opts.Metadata) {
				t.Error("the metadata is not what it was")
			}
			continue
		}
		var large *eventstore.TooLargeError
		if !errors.As(err, &large) || !errors.Is(err, eventstore.ErrTooLarge) || large.Stream != s.stream() || large.Size <= large.Limit || large.Limit <= 0 {
			t.Errorf("got %v, want a TooLargeError", err)
		}
		if len(after) > 0 {
			t.Errorf("a commit that was refused left %d events", len(after))
		}
	}
}

func manyAtOnce(t *testing.T, s suite) {
	const writers = 200
	stores := []Store{s.client(t), s.client(t)}
	errs := make(chan error)
	for w := range writers {
		go func() {
			id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(s.item, " ", w)}
			_, err := stores[w%2].Append(t.Context(), id, eventstore.NoStream, numbered(10), nil)
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for w := range writers {
		wantEvents(t, history(t, s.shared, eventstore.StreamID{Kind: "order", ID: fmt.Sprint(s.item, " ", w)}), numbered(10))
	}
}
