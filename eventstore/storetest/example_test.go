package storetest_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/eventstore/storetest"
	"github.com/headwater-go/headwater/testutil"
)

// logged is a store that logs what is appended.
type logged struct{ *eventstore.Store }

func (s logged) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	at, err := s.Store.Append(ctx, stream, expected, events, opts)
	slog.DebugContext(ctx, "appended", "stream", stream, "at", at, "error", err)
	return at, err
}

// In a test, t is its argument.
var t *testing.T

// A wrapper of the store is tested on a real server.
func ExampleRun() {
	server := testutil.Server(t)
	storetest.Run(t, func(t *testing.T, log string) storetest.Store {
		store, err := eventstore.Open(t.Context(), testutil.Connect(t, server), log, nil)
		if err != nil {
			t.Fatal(err)
		}
		return logged{store}
	})
}
