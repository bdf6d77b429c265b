package sqlmodel_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/headwater-go/headwater/projection/modeltest"
	"github.com/headwater-go/headwater/projection/sqlmodel"
)

func TestModel(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			modeltest.Run(t, func(t *testing.T) modeltest.Fixture[*sqlmodel.Tx] {
				return fixture(t, d, d.dsn(t))
			})
		})
	}
}

func fixture(t *testing.T, d database, dsn string) modeltest.Fixture[*sqlmodel.Tx] {
	t.Helper()
	db := d.open(t, dsn)
	m := newModel(t, db, "CREATE TABLE {words} (name TEXT PRIMARY KEY, word TEXT NOT NULL)")
	return modeltest.Fixture[*sqlmodel.Tx]{
		Model: m, Put: putWord, Get: getWord,
		Live: func(ctx context.Context, _, name string) (string, error) {
			return word(db.QueryRowContext(ctx, "SELECT word FROM words WHERE name = $1", name))
		},
		Close: db.Close,
		Again: func(t *testing.T) modeltest.Fixture[*sqlmodel.Tx] { return fixture(t, d, dsn) },
		One:   true,
	}
}

func putWord(tx *sqlmodel.Tx, name, word string) error {
	_, err := tx.Exec("INSERT INTO {words} (name, word) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET word = excluded.word", name, word)
	return err
}

func getWord(tx *sqlmodel.Tx, name string) (string, error) {
	return word(tx.QueryRow("SELECT word FROM {words} WHERE name = $1", name))
}

func word(row *sql.Row) (word string, err error) {
	err = row.Scan(&word)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return word, err
}
