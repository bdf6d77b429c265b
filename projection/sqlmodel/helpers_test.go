package sqlmodel_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/headwater-go/headwater/internal/postgres"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is a kind of database.
type database struct {
	name string
	// dsn returns how to open a new one.
	dsn func(t *testing.T) string
	// open opens it as a process does, until the test ends.
	open func(t *testing.T, dsn string) *sql.DB
}

var databases = []database{
	{"sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "models.db") }, openSQLite},
	{"postgres", func(t *testing.T) string { return postgres.Start(t) }, openPostgres},
}

func openPostgres(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	return openWith(t, "pgx", dsn)
}

func openWith(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// each runs a test with each kind of database.
func each(t *testing.T, f func(t *testing.T, db *sql.DB)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, d.open(t, d.dsn(t)))
		})
	}
}

const name = "sales"

func newModel(t *testing.T, db *sql.DB, schema ...string) *sqlmodel.Model {
	t.Helper()
	m, err := sqlmodel.New(db, schema...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type tx = projection.Tx[*sqlmodel.Tx]

func update(t *testing.T, m *sqlmodel.Model, f func(tx) error) {
	t.Helper()
	if err := m.Update(t.Context(), name, f); err != nil {
		t.Fatal(err)
	}
}

// begin makes and shows a generation.
func begin(generation uint64) func(tx) error {
	return func(tx tx) error { return errors.Join(tx.Create(generation), tx.Show(generation)) }
}

// with runs f on the data of a generation.
func with(generation uint64, f func(*sqlmodel.Tx) error) func(tx) error {
	return func(tx tx) error {
		data, err := tx.Data(generation)
		if err != nil {
			return err
		}
		return f(data)
	}
}

func query[V any](ctx context.Context, db *sql.DB, query string) (v V, err error) {
	err = db.QueryRowContext(ctx, query).Scan(&v)
	return v, err
}

func want[V comparable](t *testing.T, db *sql.DB, statement string, want V) {
	t.Helper()
	if got, err := query[V](t.Context(), db, statement); err != nil || got != want {
		t.Errorf("%s: %v, %v, want %v", statement, got, err, want)
	}
}
