//go:build cgo

package sqlmodel_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
)

// A table of sales in SQLite. With PostgreSQL only the line that opens the database is
// another one.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	store, dir, closeServer := startServer(ctx)
	defer closeServer()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "sales.db")+"?_journal_mode=WAL&_busy_timeout=10000")
	if err != nil {
		panic(err)
	}
	defer db.Close()

	model, err := sqlmodel.New(db,
		`CREATE TABLE {sales} (order_id TEXT PRIMARY KEY, amount BIGINT NOT NULL)`,
		`CREATE INDEX {sales}_amount ON {sales} (amount)`,
	)
	if err != nil {
		panic(err)
	}
	sales, err := projection.New("sales", store, model, projection.From("order", codec,
		projection.On(func(_ context.Context, tx *sqlmodel.Tx, e Sold, at projection.Event) error {
			_, err := tx.Exec(`INSERT INTO {sales} (order_id, amount) VALUES ($1, $2)
				ON CONFLICT (order_id) DO UPDATE SET amount = {sales}.amount + excluded.amount`, at.Stream.ID, e.Amount)
			return err
		}),
	), nil)
	if err != nil {
		panic(err)
	}
	running := make(chan error)
	go func() { running <- sales.Run(ctx) }()

	sell := func(id string, amount int) eventstore.Revision {
		data, err := codec.Encode(Sold{Amount: amount})
		if err != nil {
			panic(err)
		}
		at, err := store.Append(ctx, eventstore.StreamID{Kind: "order", ID: id}, eventstore.Any, []eventstore.EventData{data}, nil)
		if err != nil {
			panic(err)
		}
		return at
	}
	sell("17", 40)
	sell("18", 25)
	last := sell("17", 10)

	// Who has just written something and wants to see it waits for it.
	if err := sales.Wait(ctx, last); err != nil {
		panic(err)
	}
	var best string
	var amount int
	if err := db.QueryRow("SELECT order_id, amount FROM sales ORDER BY amount DESC").Scan(&best, &amount); err != nil {
		panic(err)
	}
	fmt.Println("order", best, "amount", amount)

	// Readers see the former table until the new one is complete.
	rebuilt, err := sales.Rebuild(ctx, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println("generation", rebuilt.Generation, "from", rebuilt.Events, "events")

	stop()
	if err := <-running; err != nil {
		panic(err)
	}
	// Output:
	// order 17 amount 50
	// generation 2 from 3 events
}

func startServer(ctx context.Context) (store *eventstore.Store, dir string, stop func()) {
	dir, err := os.MkdirTemp("", "sales")
	if err != nil {
		panic(err)
	}
	server, err := embedded.Start(ctx, filepath.Join(dir, "data"), nil)
	if err != nil {
		panic(err)
	}
	nc, err := server.Connect()
	if err != nil {
		panic(err)
	}
	store, err = eventstore.Open(ctx, nc, "sales", nil)
	if err != nil {
		panic(err)
	}
	return store, dir, func() {
		server.Close()
		os.RemoveAll(dir)
	}
}
