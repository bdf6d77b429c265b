package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

// Another JetStream stream has taken the place of the log, under another name. Its
// acknowledgement is none of the log's.
func TestAnotherStreamTakesTheSubjects(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	nc := testutil.Connect(t, server)
	store, err := eventstore.Open(t.Context(), nc, "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream := eventstore.StreamID{Kind: "order", ID: "1"}
	at, err := store.Append(t.Context(), stream, eventstore.NoStream, []eventstore.EventData{{Type: "placed"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "thief", Subjects: []string{"shop.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, expected := range []eventstore.Expectation{eventstore.NoStream, at} {
		_, err = store.Append(t.Context(), stream, expected, []eventstore.EventData{{Type: "shipped"}}, nil)
		t.Log(err)
		if !errors.Is(err, eventstore.ErrUnsafeLog) || !strings.Contains(err.Error(), "thief") {
			t.Errorf("after %v: %v", expected, err)
		}
	}
}
