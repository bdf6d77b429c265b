//go:build !cgo

package sqlmodel_test

import (
	"database/sql"
	"testing"
)

func openSQLite(t *testing.T, _ string) *sql.DB {
	t.Helper()
	t.Skip("without cgo there is no SQLite to test with")
	return nil
}
