package postgres_test

import (
	"database/sql"
	"testing"

	"github.com/headwater-go/headwater/internal/postgres"
)

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// Each test has a database of its own.
func TestStart(t *testing.T) {
	t.Parallel()
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			db := open(t, postgres.Start(t))
			exec(t, db, "CREATE TABLE things (id INT PRIMARY KEY)")
			var fsync string
			if err := db.QueryRowContext(t.Context(), "SHOW fsync").Scan(&fsync); err != nil || fsync != "on" {
				t.Errorf("fsync is %s, %v", fsync, err)
			}
		})
	}
}

// What was committed is there after the server stopped, and whoever was connected
// connects again.
func TestStop(t *testing.T) {
	t.Parallel()
	s := postgres.New(t, &postgres.Options{NoSync: true, Settings: []string{"max_connections=20"}})
	db := open(t, s.Database(t))
	exec(t, db, "CREATE TABLE things (id INT PRIMARY KEY)")
	exec(t, db, "INSERT INTO things VALUES (1)")
	s.Stop(t)
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("a server that was stopped answers")
	}
	s.Start(t)
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM things").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}
