//go:build cgo

package bench

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // a rival, in the process as well
)

// sqliteWay loads from a table of SQLite that holds the same history. The table
// is kept in the order of its primary key, so that a stream's events are next to
// each other, which suits loads best.
func sqliteWay(tb testing.TB, h *history) (load way, ok bool) {
	tb.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(tb.TempDir(), "events.db")+"?_journal_mode=WAL&_synchronous=FULL&_cache_size=-524288")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if err := fillSQLite(tb, db, h); err != nil {
		tb.Fatalf("SQLite: %v", err)
	}
	query, err := db.Prepare("SELECT data FROM events WHERE stream = ? ORDER BY version")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { query.Close() })
	return func(_ context.Context, id string) (o order, err error) {
		rows, err := query.Query(orderKind + "/" + id)
		if err != nil {
			return o, err
		}
		defer rows.Close()
		var data sql.RawBytes
		for rows.Next() {
			if err := rows.Scan(&data); err != nil {
				return o, err
			}
			if o, err = o.fold(data); err != nil {
				return o, err
			}
		}
		return o, rows.Err()
	}, true
}

func fillSQLite(tb testing.TB, db *sql.DB, h *history) error {
	const together = 10_000 // in a transaction
	start := time.Now()
	_, err := db.Exec(`CREATE TABLE events (
		stream TEXT, version INTEGER, type TEXT NOT NULL, data BLOB NOT NULL,
		PRIMARY KEY (stream, version)) WITHOUT ROWID`)
	versions := make([]int, len(h.streams))
	for at := 0; at < len(h.order) && err == nil; at += together {
		err = insert(db, h, versions, h.order[at:min(at+together, len(h.order))])
	}
	tb.Logf("SQLite: the same, inserted in %v", time.Since(start).Round(time.Millisecond))
	return err
}

func insert(db *sql.DB, h *history, versions []int, order []int32) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	add, err := tx.Prepare("INSERT INTO events VALUES (?, ?, 'order.placed', ?)")
	if err != nil {
		return err
	}
	for _, s := range order {
		versions[s]++
		if _, err := add.Exec(h.streams[s].String(), versions[s], payload); err != nil {
			return err
		}
	}
	return tx.Commit()
}
