package sqlmodel

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"github.com/headwater-go/headwater/projection"
)

// Model is the read model of one projection in a SQL database. It is a
// [projection.Model], and may be used from several goroutines, and processes.
type Model struct {
	db     *sql.DB
	schema []string
	tables []string
	turn   chan struct{} // holds one if transactions take turns; nil: they do not

	mu         sync.Mutex
	projection string // whose it is; empty: not known yet
}

// New returns a model in a database, which stays the caller's to close. The schema is
// the statements that create the tables of a generation and what belongs to them, one
// or more, in their order. The name of a table is 1 to 40 of a-z, 0-9 and '_', and is
// written in braces; one that begins with it, such as that of an index, may be written
// {table}_more. Other braces stay as they are. Without tables the model is for handlers
// that change tables of yours.
//
// A schema that makes no sense is an [eventstore.InvalidError]. Nothing is created but
// the table headwater_projections, if it is missing.
func New(db *sql.DB, schema ...string) (*Model, error) {
	tables, err := tablesOf(schema)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := createRecords(ctx, db); err != nil {
		return nil, fmt.Errorf("table %s: %w", recordsTable, err)
	}
	m := &Model{db: db, schema: schema, tables: tables}
	parallel, err := writesInParallel(ctx, db)
	if err != nil {
		return nil, err
	}
	if !parallel {
		m.turn = make(chan struct{}, 1)
	}
	return m, nil
}

// createRecords creates the table of records. Of two processes that do so at the same
// time one may be told that it is there already, in several ways.
func createRecords(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS headwater_projections (
		projection VARCHAR(100) NOT NULL, key VARCHAR(400) NOT NULL, value TEXT NOT NULL,
		PRIMARY KEY (projection, key))`)
	if err == nil {
		return nil
	}
	if _, missing := db.ExecContext(ctx, "SELECT key FROM headwater_projections WHERE 1 = 0"); missing != nil {
		return err
	}
	return nil
}

// writesInParallel reports whether the database lets several transactions write at the
// same time. SQLite does not. It is known by that it does not take a text for the number
// that it stands for.
func writesInParallel(ctx context.Context, db *sql.DB) (bool, error) {
	var same int
	err := db.QueryRowContext(ctx, "SELECT CASE WHEN '1' = 1 THEN 1 ELSE 0 END").Scan(&same)
	return same == 1, err
}

// Traits says that several processes may use it, and whether transactions may run at the
// same time.
func (m *Model) Traits() projection.Traits {
	return projection.Traits{Shared: true, Parallel: m.turn == nil}
}

// Records is that of [projection.Model]. The records are those of one moment.
func (m *Model) Records(ctx context.Context, name string, f func(projection.Records) error) error {
	all, err := readRecords(ctx, m.db, selectRecords, name)
	if err != nil {
		return err
	}
	return f(all)
}

// Update is that of [projection.Model]. If the context ends before f returns, nothing
// stays.
func (m *Model) Update(ctx context.Context, name string, f func(projection.Tx[*Tx]) error) error {
	if err := m.belongsTo(name); err != nil {
		return err
	}
	if err := m.await(ctx); err != nil {
		return err
	}
	defer m.next()
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	c := &conn{ctx: ctx, tx: tx}
	t := newTransaction(m, c, name)
	if err := f(t); err != nil {
		return c.because(err)
	}
	if err := t.finish(); err != nil {
		return err
	}
	return c.why(tx.Commit())
}

// belongsTo says whose the model is, once: the tables of another projection would be
// the same ones.
func (m *Model) belongsTo(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.projection == "" {
		m.projection = name
	}
	if m.projection != name && len(m.tables) > 0 {
		return invalid("model", m.tables[0], fmt.Sprintf("is that of projection %s; projection %s needs one of its own, with other tables", m.projection, name))
	}
	return nil
}

// await waits for this transaction's turn. SQLite would let it try again and again
// instead, and give up after some time.
func (m *Model) await(ctx context.Context) error {
	if err := ctx.Err(); err != nil || m.turn == nil {
		return err
	}
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Model) next() {
	if m.turn != nil {
		<-m.turn
	}
}
