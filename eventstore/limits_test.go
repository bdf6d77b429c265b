package eventstore_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var limitItems = []item{
	{"30 a commit of the largest size, and one byte more", largestMessage},
	{"30 headers of the largest size, and one byte more", largestHeaders},
}

func wantTooLarge(t *testing.T, err error, what string) *eventstore.TooLargeError {
	t.Helper()
	var large *eventstore.TooLargeError
	if !errors.As(err, &large) || !errors.Is(err, eventstore.ErrTooLarge) {
		t.Fatalf("got %v, want a TooLargeError", err)
	}
	if large.What != what || large.Size <= large.Limit || large.Limit <= 0 {
		t.Errorf("got %+v, want that the %s are too large", large, what)
	}
	return large
}

// largest grows a commit to the byte that no longer fits. Whatever fits must
// be stored and come back; what does not is refused before it is sent.
func largest(t *testing.T, s site, what string, commit func(grown int) ([]eventstore.EventData, *eventstore.AppendOptions)) {
	nc := testutil.Connect(t, s)
	store := s.open(t, nc, s.shared.Name(), nil)
	s.quiet(t, store)
	id := stream(t)
	size := 2 << 20
	data, opts := commit(size)
	_, err := store.Append(t.Context(), id, eventstore.NoStream, data, opts)
	large := wantTooLarge(t, err, what)
	fits := size - int(large.Size-large.Limit)

	data, opts = commit(fits + 1)
	sent := nc.Stats().OutMsgs
	_, err = store.Append(t.Context(), id, eventstore.NoStream, data, opts)
	if large := wantTooLarge(t, err, what); large.Size != large.Limit+1 {
		t.Errorf("one byte too many is %d of %d", large.Size, large.Limit)
	}
	if now := nc.Stats().OutMsgs; now != sent {
		t.Errorf("%d messages were sent for a commit that is too large", now-sent)
	}
	wantTexts(t, store, id)

	data, opts = commit(fits)
	at := add(t, store, id, eventstore.NoStream, data, opts)
	add(t, store, id, at, events("more"), nil)
	all := history(t, store, id)
	wantEvents(t, all, append(data, events("more")...))
	if !maps.Equal(all[0].Metadata, opts.Metadata) {
		t.Error("the metadata is not what it was")
	}
	// Followed as well, since the server hands it over in another way.
	for e, err := range store.Log(t.Context(), at.Position-1, nil) {
		if err != nil || e.Position != at.Position {
			t.Errorf("following: %+v, %v", e.Position, err)
		}
		break
	}
	if !nc.IsConnected() || nc.Stats().Reconnects > 0 {
		t.Error("the connection was lost")
	}
}

func largestMessage(t *testing.T, s site) {
	largest(t, s, "message", func(grown int) ([]eventstore.EventData, *eventstore.AppendOptions) {
		return events(strings.Repeat("x", grown)), &eventstore.AppendOptions{CommitID: "large", Time: time.Unix(1, 0)}
	})
}

func largestHeaders(t *testing.T, s site) {
	largest(t, s, "headers", func(grown int) ([]eventstore.EventData, *eventstore.AppendOptions) {
		return events("a", "b"), &eventstore.AppendOptions{
			CommitID: "large", Time: time.Unix(1, 0),
			Metadata: map[string]string{"long": strings.Repeat("x", grown)},
		}
	})
}
