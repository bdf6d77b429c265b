package sqlmodel_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		schema []string
		reason string // of the error; empty: it is sound
	}{
		"no tables":           {nil, ""},
		"the longest name":    {[]string{"CREATE TABLE {" + strings.Repeat("t", 40) + "} (id INT)"}, ""},
		"a name too long":     {[]string{"CREATE TABLE {" + strings.Repeat("t", 41) + "} (id INT)"}, "1 to 40"},
		"upper case":          {[]string{"CREATE TABLE {Sales} (id INT)"}, "1 to 40"},
		"a digit first":       {[]string{"CREATE TABLE {1st} (id INT)"}, "1 to 40"},
		"a space":             {[]string{"CREATE TABLE {by day} (id INT)"}, "1 to 40"},
		"no name":             {[]string{"CREATE TABLE {} (id INT)"}, "1 to 40"},
		"a quote":             {[]string{`CREATE TABLE {a"b} (id INT)`}, "1 to 40"},
		"a letter of another": {[]string{"CREATE TABLE {größe} (id INT)"}, "1 to 40"},
		"no braces":           {[]string{"create  table\n if not exists sales (id INT)"}, "not in braces"},
		"quoted":              {[]string{`CREATE TABLE "sales" (id INT)`}, "not in braces"},
		"a number at the end": {[]string{"CREATE TABLE {sales__3} (id INT)"}, "as the names of generations' tables do"},
		"a number":            {[]string{"CREATE TABLE {sales_3} (id INT)"}, ""},
		"the records":         {[]string{"CREATE TABLE {headwater_projections} (id INT)"}, "that of the records"},
		"twice":               {[]string{"CREATE TABLE {a} (id INT)", "CREATE TABLE {a} (id INT)"}, "created twice"},
		"another one":         {[]string{"CREATE TABLE {a} (id INT)", "CREATE INDEX {b}_i ON {a} (id)"}, "no statement creates it"},
		"other braces":        {[]string{`CREATE TABLE {a} (list TEXT DEFAULT '{}', more TEXT DEFAULT '{"b": 1}', x TEXT DEFAULT '{1,2}')`}, ""},
		"two at once":         {[]string{"CREATE TABLE {a} (id INT); CREATE TABLE {b} (id INT)", "CREATE INDEX {b}_i ON {b} (id)"}, ""},
	}
	db := openSQLite(t, t.TempDir()+"/models.db")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := sqlmodel.New(db, test.schema...)
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				update(t, m, func(tx tx) error { return errors.Join(begin(1)(tx), tx.Show(0), tx.Drop(1)) })
				return
			}
			if !errors.Is(err, eventstore.ErrInvalid) || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("it is refused with %v, want %q", err, test.reason)
			}
		})
	}
}

// An index, and a table that refers to another one, are made for each generation.
func TestSeveralTables(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db,
			"CREATE TABLE {orders} (id TEXT PRIMARY KEY, note TEXT NOT NULL DEFAULT '{}')",
			"CREATE TABLE {order} (id TEXT NOT NULL REFERENCES {orders} (id), item TEXT NOT NULL)",
			"CREATE INDEX {order}_item ON {order} (item)",
		)
		for g := uint64(1); g <= 3; g++ {
			update(t, m, begin(g))
			update(t, m, with(g, func(tx *sqlmodel.Tx) error {
				_, err := tx.Exec("INSERT INTO {orders} (id) VALUES ($1)", "1")
				if err == nil {
					_, err = tx.Exec("INSERT INTO {order} (id, item) VALUES ('1', '{other} {} {orders')")
				}
				return err
			}))
			if g > 1 {
				update(t, m, func(tx tx) error { return tx.Drop(g - 1) })
			}
		}
		want(t, db, `SELECT item FROM "order"`, "{other} {} {orders")
		want(t, db, "SELECT note FROM orders", "{}")
		want(t, db, "SELECT note FROM orders__3", "{}")
		if _, err := query[string](t.Context(), db, "SELECT note FROM orders__2"); err == nil {
			t.Error("a table that was dropped is there")
		}
	})
}

// A program with another schema shows, and drops, what an earlier one has made.
func TestOtherSchema(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		old := newModel(t, db, "CREATE TABLE {a} (id INT)", "CREATE TABLE {b} (id INT)")
		update(t, old, begin(1))
		m := newModel(t, db, "CREATE TABLE {a} (name TEXT)", "CREATE TABLE {c} (id INT)")
		update(t, m, begin(2))
		want(t, db, "SELECT COUNT(name) FROM a", 0)
		want(t, db, "SELECT COUNT(id) FROM c", 0)
		if _, err := query[int](t.Context(), db, "SELECT COUNT(id) FROM b"); err == nil {
			t.Error("readers see a table of the former generation")
		}
		update(t, m, func(tx tx) error { return tx.Show(1) })
		want(t, db, "SELECT COUNT(id) FROM b", 0)
		update(t, m, func(tx tx) error { return errors.Join(tx.Show(2), tx.Drop(1)) })
		if _, err := query[int](t.Context(), db, "SELECT COUNT(id) FROM b__1"); err == nil {
			t.Error("a table of the former generation is left")
		}
	})
}

// A table that was there before is not taken for a view, and not dropped.
func TestTableInTheWay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE a (id INT)"); err != nil {
			t.Fatal(err)
		}
		m := newModel(t, db, "CREATE TABLE {a} (id INT)")
		if err := m.Update(t.Context(), name, begin(1)); err == nil || !strings.Contains(err.Error(), "view a: ") {
			t.Errorf("a view where a table is: %v", err)
		}
		want(t, db, "SELECT COUNT(*) FROM a", 0)
	})
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		m := newModel(t, db, "CREATE TABLE {a} (id INT)")
		update(t, m, begin(1))
		if err := m.Update(t.Context(), name, func(tx tx) error { return tx.Drop(1) }); err == nil || !strings.Contains(err.Error(), "what readers see") {
			t.Errorf("the live generation was dropped: %v", err)
		}
		for what, f := range map[string]func(tx) error{
			"show": func(tx tx) error { return tx.Show(2) },
			"drop": func(tx tx) error { return tx.Drop(2) },
		} {
			if err := m.Update(t.Context(), name, f); !errors.Is(err, projection.ErrNoGeneration) {
				t.Errorf("%s a generation that is not there: %v", what, err)
			}
		}
		want(t, db, "SELECT COUNT(*) FROM a", 0)
		want(t, db, "SELECT COUNT(*) FROM headwater_projections WHERE value = ''", 0)
	})
}
