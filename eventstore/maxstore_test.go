package eventstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

// At the server's limit an append is refused at once, and it is known that
// nothing is stored. With a higher limit the log goes on where it stood.
func TestMaxStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := embedded.Start(t.Context(), dir, &embedded.Options{Relaxed: true, MaxStore: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	site := site{Connector: server, replicas: 1}
	store := site.open(t, testutil.Connect(t, site), "full", nil)
	id := stream(t)
	var at eventstore.Revision
	var want []string
	for err == nil {
		text := fmt.Sprintf("%d %0900d", len(want), 0)
		var next eventstore.Revision
		if next, err = store.Append(t.Context(), id, at, events(text), nil); err == nil {
			at, want = next, append(want, text)
		}
	}
	const insufficientResources = 10023
	var refused *jetstream.APIError
	if errors.Is(err, eventstore.ErrUnknownOutcome) || !errors.As(err, &refused) || refused.ErrorCode != insufficientResources {
		t.Errorf("at the limit: %v", err)
	}
	wantTexts(t, store, id, want...)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}

	site.Connector = start(t, dir, "")
	store = site.log(t, "full", nil)
	add(t, store, id, at, events("more"), nil)
	wantTexts(t, store, id, append(want, "more")...)
}
