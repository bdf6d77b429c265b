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

// What a context carries can be had, to pass it on, and not be changed that way.
func TestMetadataOfContext(t *testing.T) {
	t.Parallel()
	want := func(ctx context.Context, metadata map[string]string) {
		t.Helper()
		if got := eventstore.Metadata(ctx); !maps.Equal(got, metadata) {
			t.Errorf("the context has %v, want %v", got, metadata)
		}
	}
	want(t.Context(), nil)
	given := map[string]string{"tenant": "x", "user": "ann"}
	outer := eventstore.WithMetadata(t.Context(), given)
	inner := eventstore.WithMetadata(outer, map[string]string{"user": "bob"})
	given["tenant"] = "changed"
	eventstore.Metadata(outer)["user"] = "changed"
	want(outer, map[string]string{"tenant": "x", "user": "ann"})
	want(inner, map[string]string{"tenant": "x", "user": "bob"})

	cause := eventstore.Event{Stream: eventstore.StreamID{Kind: "order", ID: "42"}, CommitID: "1", Metadata: map[string]string{"correlationid": "c", "tenant": "y"}}
	want(eventstore.CausedBy(inner, cause), map[string]string{"correlationid": "c", "causationid": "order/42/1", "tenant": "x", "user": "bob"})

	// Passed on, it is what an append there stores.
	store := testutil.Store(t)
	at := add(t, store, cause.Stream, eventstore.NoStream, events("a"), &eventstore.AppendOptions{Metadata: eventstore.Metadata(inner)})
	if e := read(t, store, cause.Stream, nil)[0]; e.Position != at.Position || !maps.Equal(e.Metadata, eventstore.Metadata(inner)) {
		t.Errorf("stored with %v", e.Metadata)
	}
}
