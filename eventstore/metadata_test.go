package eventstore_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// What an event leads to carries where it came from, through the context.
func TestMetadataThroughContext(t *testing.T) {
	t.Parallel()
	store := testutil.Store(t)
	id := eventstore.StreamID{Kind: "order", ID: "42"}
	append := func(ctx context.Context, opts *eventstore.AppendOptions) eventstore.Event {
		t.Helper()
		at, err := store.Append(ctx, id, eventstore.Any, events("a"), opts)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, store, id, &eventstore.ReadOptions{From: at.Version})[0]
	}
	want := func(e eventstore.Event, metadata map[string]string) {
		t.Helper()
		if !maps.Equal(e.Metadata, metadata) {
			t.Errorf("version %d has %v, want %v", e.Version, e.Metadata, metadata)
		}
	}

	ctx := eventstore.WithMetadata(t.Context(), map[string]string{eventstore.User: "ann", "tenant": "x"})
	first := append(ctx, &eventstore.AppendOptions{CommitID: "first", Metadata: map[string]string{"user": "bob", eventstore.TraceParent: "00-1-2-01"}})
	want(first, map[string]string{"user": "bob", "tenant": "x", "traceparent": "00-1-2-01"})

	second := append(eventstore.CausedBy(t.Context(), first), &eventstore.AppendOptions{CommitID: "second"})
	want(second, map[string]string{"correlationid": "order/42/first", "causationid": "order/42/first", "traceparent": "00-1-2-01", "user": "bob"})

	third := append(eventstore.CausedBy(ctx, second), nil)
	want(third, map[string]string{"correlationid": "order/42/first", "causationid": "order/42/second", "traceparent": "00-1-2-01", "user": "bob", "tenant": "x"})

	want(append(t.Context(), nil), nil)
	bad := eventstore.WithMetadata(t.Context(), map[string]string{"Not a key": ""})
	if _, err := store.Append(bad, id, eventstore.Any, events("a"), nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a bad key in the context: %v", err)
	}
}
