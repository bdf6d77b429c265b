//go:build cgo

package sqlmodel_test

import (
	"database/sql"
	"testing"

	_ "github.com/mattn/go-sqlite3"
)

func openSQLite(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	return openWith(t, "sqlite3", "file:"+dsn+"?_journal_mode=WAL&_busy_timeout=20000")
}
