package sqlmodel_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
	"github.com/headwater-go/headwater/testutil"
)

type Event interface {
	eventstore.Typed
	isEvent()
}

type Sold struct{ Amount int }

func (Sold) EventType() string { return "order.sold" }
func (Sold) isEvent()          {}

var codec = eventstore.JSON[Event](Sold{})

const sums = "CREATE TABLE {sums} (order_id TEXT PRIMARY KEY, amount INT NOT NULL, events INT NOT NULL)"

func addSold(_ context.Context, tx *sqlmodel.Tx, e Sold, at projection.Event) error {
	_, err := tx.Exec(`INSERT INTO {sums} (order_id, amount, events) VALUES ($1, $2, 1)
		ON CONFLICT (order_id) DO UPDATE SET amount = {sums}.amount + excluded.amount, events = {sums}.events + 1`, at.Stream.ID, e.Amount)
	return err
}

// A read model equals what was appended, is rebuilt beside readers, and in the end there
// is one generation.
func TestProjection(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		store := testutil.Store(t)
		m := newModel(t, db, sums)
		opts := &projection.Options{Workers: 1}
		if m.Traits().Parallel {
			opts.Workers = 4
		}
		p, err := projection.New("sums", store, m, projection.From("order", codec, projection.On(addSold)), opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		running := make(chan error, 1)
		go func() { running <- p.Run(ctx) }()
		last := sell(t, store, 49)
		if err := p.Wait(t.Context(), last); err != nil {
			t.Error(err)
		}
		wantSums(t, db, 49)
		if done, err := p.Rebuild(t.Context(), nil); err != nil || done.Generation != 2 {
			t.Errorf("rebuild: %+v, %v", done, err)
		}
		wantSums(t, db, 49)
		if err := p.Wait(t.Context(), sell(t, store, 21)); err != nil {
			t.Error(err)
		}
		wantSums(t, db, 70)
		stop()
		if err := <-running; err != nil {
			t.Error(err)
		}
		if all, err := p.Generations(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("generations %+v, %v", all, err)
		}
	})
}

const streams = 7

// sell appends n events, each with the amount 3, to streams in turn.
func sell(t *testing.T, store *eventstore.Store, n int) (last eventstore.Revision) {
	t.Helper()
	data, err := codec.Encode(Sold{Amount: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		stream := eventstore.StreamID{Kind: "order", ID: strconv.Itoa(i % streams)}
		if last, err = store.Append(t.Context(), stream, eventstore.Any, []eventstore.EventData{data}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func wantSums(t *testing.T, db *sql.DB, events int) {
	t.Helper()
	want(t, db, "SELECT SUM(events) FROM sums", events)
	want(t, db, "SELECT SUM(amount) FROM sums", 3*events)
	want(t, db, fmt.Sprintf("SELECT COUNT(*) FROM sums WHERE events = %d", events/streams), streams)
}
