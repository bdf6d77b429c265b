package sqlmodel

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Tx is a transaction on the tables of one generation. It is used by one goroutine, and
// not after the handler has returned.
//
// A name of the model's tables in braces stands for the generation's table, wherever it
// is in a query. Other braces stay as they are.
//
// After a statement that failed the transaction is rolled back, and nothing more can be
// done in it.
type Tx struct {
	conn   *conn
	expand *strings.Replacer
}

// Exec executes a query that returns no rows.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	if err := t.conn.lock(); err != nil {
		return nil, err
	}
	return t.conn.exec(t.expand.Replace(query), args...)
}

// Query executes a query that returns rows. They are to be closed before the next
// statement.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	if err := t.conn.lock(); err != nil {
		return nil, err
	}
	return t.conn.query(t.expand.Replace(query), args...)
}

// QueryRow executes a query that returns at most one row. An error is that of the row's
// Scan.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	_ = t.conn.lock() // if it failed the row says that there is no transaction any more
	return t.conn.queryRow(t.expand.Replace(query), args...)
}

// conn is a transaction of the database. It is rolled back at the first statement that
// fails: PostgreSQL would execute no other, SQLite any, and some of them, if it has
// rolled back by itself, outside of any transaction.
type conn struct {
	ctx    context.Context
	tx     *sql.Tx
	locked bool // something was written
	err    error
}

// lock writes, if nothing was written yet: where only one transaction can write, one that
// has read before may be refused to.
func (c *conn) lock() error {
	if c.locked {
		return c.err
	}
	_, err := c.exec("UPDATE headwater_projections SET value = value WHERE projection = '' AND key = ''")
	return err
}

func (c *conn) exec(query string, args ...any) (sql.Result, error) {
	if c.err != nil {
		return nil, c.err
	}
	c.locked = true
	result, err := c.tx.ExecContext(c.ctx, query, args...)
	return result, c.failed(err)
}

func (c *conn) query(query string, args ...any) (*sql.Rows, error) {
	if c.err != nil {
		return nil, c.err
	}
	rows, err := c.tx.QueryContext(c.ctx, query, args...)
	return rows, c.failed(err)
}

func (c *conn) queryRow(query string, args ...any) *sql.Row {
	row := c.tx.QueryRowContext(c.ctx, query, args...)
	if err := row.Err(); err != nil && c.err == nil {
		_ = c.failed(err) // the row says so too
	}
	return row
}

// failed ends the transaction if there is an error.
func (c *conn) failed(err error) error {
	if err == nil {
		return nil
	}
	c.err = c.why(err)
	_ = c.tx.Rollback() // it may have failed with the connection
	return c.err
}

// why says why a transaction is over that nobody here has ended: its context has.
func (c *conn) why(err error) error {
	if errors.Is(err, sql.ErrTxDone) && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	return err
}

// because adds to an error that only says that the transaction is over which statement
// ended it.
func (c *conn) because(err error) error {
	if c.err != nil && errors.Is(err, sql.ErrTxDone) {
		return errors.Join(err, c.err)
	}
	return err
}
