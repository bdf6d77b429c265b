package sqlmodel

import (
	"bytes"
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"
)

const (
	lockRecord    = "UPDATE headwater_projections SET value = value WHERE projection = $1 AND key = $2"
	selectRecord  = "SELECT value FROM headwater_projections WHERE projection = $1 AND key = $2"
	insertRecord  = "INSERT INTO headwater_projections (projection, key, value) VALUES ($1, $2, $3)"
	updateRecord  = "UPDATE headwater_projections SET value = $1 WHERE projection = $2 AND key = $3"
	deleteRecord  = "DELETE FROM headwater_projections WHERE projection = $1 AND key = $2"
	selectRecords = "SELECT key, value FROM headwater_projections WHERE projection = $1"
	// LIKE has wildcards, and in SQLite does not tell upper from lower case; what is
	// greater than a prefix depends on the collation.
	selectPrefix = selectRecords + " AND substr(key, 1, $2) = $3"
)

// values are records that were read.
type values map[string][]byte

// Get returns a record.
func (v values) Get(key string) ([]byte, error) { return bytes.Clone(v[key]), nil }

// List returns the records whose keys begin with prefix.
func (v values) List(prefix string) (map[string][]byte, error) {
	found := make(map[string][]byte)
	for key, value := range v {
		if strings.HasPrefix(key, prefix) {
			found[key] = bytes.Clone(value)
		}
	}
	return found, nil
}

// querier is a database, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func readRecords(ctx context.Context, q querier, query string, args ...any) (values, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(values)
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		all[key] = []byte(value)
	}
	return all, rows.Err()
}

// records are those of a projection, in a transaction.
type records struct {
	*conn
	projection string
	// Records that are not there, and have a row with an empty value until the
	// transaction ends, so that nobody else makes one.
	missing map[string]bool
}

func newRecords(c *conn, projection string) *records {
	return &records{c, projection, make(map[string]bool)}
}

// Get locks a record, and returns it.
func (r *records) Get(key string) ([]byte, error) {
	if r.missing[key] {
		return nil, r.err
	}
	there, err := r.change(lockRecord, r.projection, key)
	if err != nil {
		return nil, err
	}
	if !there {
		r.missing[key] = true
		_, err := r.exec(insertRecord, r.projection, key, "")
		return nil, err
	}
	return r.peek(key)
}

// peek returns a record and does not lock it.
func (r *records) peek(key string) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	var value string
	err := r.tx.QueryRowContext(r.ctx, selectRecord, r.projection, key).Scan(&value)
	if err == sql.ErrNoRows {
		return nil, nil
	}
	if err != nil {
		return nil, r.failed(err)
	}
	return []byte(value), nil
}

// List returns the records whose keys begin with prefix.
func (r *records) List(prefix string) (map[string][]byte, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	all, err := readRecords(r.ctx, r.tx, selectPrefix, r.projection, utf8.RuneCountInString(prefix), prefix)
	if err != nil {
		return nil, r.failed(err)
	}
	for key := range r.missing {
		delete(all, key)
	}
	return all, nil
}

// Put sets a record, and removes it if the value is nil.
func (r *records) Put(key string, value []byte) error {
	if value == nil {
		if r.missing[key] {
			return r.err
		}
		_, err := r.exec(deleteRecord, r.projection, key)
		return err
	}
	there, err := r.change(updateRecord, string(value), r.projection, key)
	if err == nil && !there {
		_, err = r.exec(insertRecord, r.projection, key, string(value))
	}
	if err == nil {
		delete(r.missing, key)
	}
	return err
}

// finish removes the rows of records that are missing still.
func (r *records) finish() error {
	for key := range r.missing {
		if _, err := r.exec(deleteRecord, r.projection, key); err != nil {
			return err
		}
	}
	return r.err
}

// change reports whether a statement has changed a row.
func (r *records) change(query string, args ...any) (bool, error) {
	result, err := r.exec(query, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
