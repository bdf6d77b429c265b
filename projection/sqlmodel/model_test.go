package sqlmodel_test

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
)

const things = "CREATE TABLE {things} (id INT PRIMARY KEY)"

func insert(id int) func(*sqlmodel.Tx) error {
	return func(tx *sqlmodel.Tx) error {
		_, err := tx.Exec("INSERT INTO {things} (id) VALUES ($1)", id)
		return err
	}
}

// SQLite has one transaction at a time that writes.
func TestTraits(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			want := projection.Traits{Shared: true, Parallel: d.name != "sqlite"}
			if got := newModel(t, d.open(t, d.dsn(t))).Traits(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// Many processes may start at the same time.
func TestNewAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dsn := d.dsn(t)
			var running sync.WaitGroup
			for range 8 {
				db := d.open(t, dsn)
				running.Go(func() {
					if _, err := sqlmodel.New(db, things); err != nil {
						t.Error(err)
					}
				})
			}
			running.Wait()
		})
	}
}

func TestNewWithoutDatabase(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		db.Close()
		if _, err := sqlmodel.New(db, things); err == nil || !strings.Contains(err.Error(), "headwater_projections") {
			t.Errorf("with a closed database: %v", err)
		}
	})
}

func TestModelOfTwoProjections(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		update(t, m, begin(1))
		err := m.Update(t.Context(), "another", begin(1))
		if !errors.Is(err, eventstore.ErrInvalid) || !strings.Contains(err.Error(), "another needs one of its own") {
			t.Errorf("another projection: %v", err)
		}
		// Two models in one database do not see each other's records.
		m = newModel(t, db, "CREATE TABLE {others} (id INT)")
		if err := m.Update(t.Context(), "another", begin(1)); err != nil {
			t.Error(err)
		}
	})
}

// After a statement that failed nothing more is done, also where the database would go on,
// and the handler does.
func TestFailedStatement(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		update(t, m, begin(1))
		var first, second, third error
		err := m.Update(t.Context(), name, func(tx tx) error {
			return errors.Join(tx.Put("projection", []byte("changed")), with(1, func(data *sqlmodel.Tx) error {
				_ = insert(1)(data)
				first = insert(1)(data)
				second = insert(2)(data)
				var n int
				third = data.QueryRow("SELECT COUNT(*) FROM {things}").Scan(&n)
				return nil
			})(tx))
		})
		if first == nil || second != first || err != first || third == nil {
			t.Errorf("after %v: %v, %v, and in the end %v", first, second, third, err)
		}
		want(t, db, "SELECT COUNT(*) FROM things", 0)
		want(t, db, "SELECT COUNT(*) FROM headwater_projections WHERE projection = 'sales'", 0)
		update(t, m, with(1, insert(1)))
	})
}

// Who notices late that a statement failed is told of it.
func TestFailureNoticedLate(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		update(t, m, begin(1))
		var first error
		err := m.Update(t.Context(), name, with(1, func(data *sqlmodel.Tx) error {
			_, first = data.Exec("INSERT INTO {things} (id) VALUES (NULL), (1), (1)")
			var n int
			return data.QueryRow("SELECT COUNT(*) FROM {things}").Scan(&n)
		}))
		if first == nil || !errors.Is(err, first) || !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("%v, and in the end %v", first, err)
		}
	})
}

// What a handler did not notice, the end of its transaction does.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things, "CREATE TABLE {parts} (thing INT REFERENCES {things} (id) DEFERRABLE INITIALLY DEFERRED)")
		update(t, m, begin(1))
		if m.Traits().Parallel == false {
			db.SetMaxOpenConns(1)
			if _, err := db.ExecContext(t.Context(), "PRAGMA foreign_keys = ON"); err != nil {
				t.Fatal(err)
			}
		}
		err := m.Update(t.Context(), name, with(1, func(tx *sqlmodel.Tx) error {
			_, err := tx.Exec("INSERT INTO {parts} (thing) VALUES (7)")
			if err != nil {
				t.Errorf("it is noticed too early: %v", err)
			}
			return nil
		}))
		if err == nil {
			t.Error("a transaction that could not be committed returns no error")
		}
		want(t, db, "SELECT COUNT(*) FROM parts", 0)
	})
}

// A transaction that is not the handler's any more because its context ended says so.
func TestEndOfContext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		update(t, m, begin(1))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := m.Update(ctx, name, with(1, func(tx *sqlmodel.Tx) error {
			if err := insert(1)(tx); err != nil {
				t.Error(err)
			}
			cancel()
			for i := 2; i < 10; i++ {
				if err := insert(i)(tx); !errors.Is(err, context.Canceled) {
					t.Errorf("a statement after the end of the context: %v", err)
				}
			}
			return nil
		}))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the transaction: %v", err)
		}
		want(t, db, "SELECT COUNT(*) FROM things", 0)
	})
}

// A transaction that first reads and then writes is not disturbed by another process:
// SQLite refuses to write in one that has read what another one has changed since.
func TestReadsFirst(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			dsn := d.dsn(t)
			m, other := newModel(t, d.open(t, dsn), things), newModel(t, d.open(t, dsn), things)
			update(t, m, begin(1))
			var running sync.WaitGroup
			update(t, m, with(1, func(tx *sqlmodel.Tx) error {
				var n int
				if err := tx.QueryRow("SELECT COUNT(*) FROM {things}").Scan(&n); err != nil {
					return err
				}
				done := make(chan struct{})
				running.Go(func() {
					defer close(done)
					if err := other.Update(t.Context(), name, with(1, insert(1))); err != nil {
						t.Error(err)
					}
				})
				select {
				case <-done:
				case <-time.After(100 * time.Millisecond): // it waits for this transaction
				}
				return insert(2)(tx)
			}))
			running.Wait()
			want(t, d.open(t, dsn), "SELECT COUNT(*) FROM things", 2)
		})
	}
}

// Workers, which have records of their own, do not wait for each other.
func TestParallel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		if !m.Traits().Parallel {
			t.Skip("there is one transaction at a time")
		}
		update(t, m, begin(1))
		const workers = 4
		var together, running sync.WaitGroup
		together.Add(workers)
		for i := range workers {
			running.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				key := "checkpoint/1/" + strconv.Itoa(i)
				err := m.Update(ctx, name, func(tx tx) error {
					_, err := tx.Get(key)
					err = errors.Join(err, with(1, insert(i))(tx), tx.Put(key, []byte("1")))
					together.Done()
					together.Wait() // all are in their transactions
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		want(t, db, "SELECT COUNT(*) FROM things", workers)
	})
}

// A reader in the middle of its rows sees the generation that it began with.
func TestShowBesideReader(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, things)
		update(t, m, begin(1))
		update(t, m, with(1, func(tx *sqlmodel.Tx) error {
			_, err := tx.Exec("INSERT INTO {things} (id) VALUES (1), (2), (3)")
			return err
		}))
		rows, err := db.QueryContext(t.Context(), "SELECT id FROM things")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if !rows.Next() {
			t.Fatal("no rows")
		}
		var switching sync.WaitGroup
		switching.Go(func() {
			if err := m.Update(t.Context(), name, func(tx tx) error { return errors.Join(begin(2)(tx), tx.Drop(1)) }); err != nil {
				t.Error(err)
			}
		})
		seen := 1
		for rows.Next() {
			seen++
		}
		if err := rows.Err(); err != nil || seen != 3 {
			t.Errorf("%d rows, %v", seen, err)
		}
		rows.Close()
		switching.Wait()
		want(t, db, "SELECT COUNT(*) FROM things", 0)
	})
}
