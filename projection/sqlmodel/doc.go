// Package sqlmodel keeps read models in a SQL database, through database/sql.
//
// A [Model] is made from the statements that create the tables, whose names are
// written in braces:
//
//	model, err := sqlmodel.New(db,
//		`CREATE TABLE {sales_by_day} (day TEXT PRIMARY KEY, orders BIGINT NOT NULL)`,
//		`CREATE INDEX {sales_by_day}_orders ON {sales_by_day} (orders)`,
//	)
//
// Handlers get a [Tx], and write the names in the same way:
//
//	projection.On(func(ctx context.Context, tx *sqlmodel.Tx, e Placed, at projection.Event) error {
//		_, err := tx.Exec(`INSERT INTO {sales_by_day} (day, orders) VALUES ($1, 1)
//			ON CONFLICT (day) DO UPDATE SET orders = {sales_by_day}.orders + 1`, at.Time.Format(time.DateOnly))
//		return err
//	})
//
// Readers query sales_by_day, in any language. That is a view of the live
// generation's table; the table of generation 3 is sales_by_day__3. A rebuild makes
// new tables, and then, in one transaction, new views.
//
// # Guarantees
//
// What handlers do through their [Tx], where the projection stands, and which tables
// the views show are changed in one transaction or not at all.
//
// The records of projections are rows of the table headwater_projections. A
// transaction locks those that it reads until it ends. So if two processes project,
// one of them waits, sees what the other did, and does nothing.
//
// # What the database has to do
//
// It takes $1, $2 … as placeholders, and changes tables and views in transactions, as
// PostgreSQL and SQLite do. These two are tested, with the drivers
// github.com/jackc/pgx/v5/stdlib and github.com/mattn/go-sqlite3; text is to be
// UTF-8. A database that commits at each change of a table or view is not for
// rebuilds: readers may find no view for a moment, and a crash at that moment leaves
// it so.
//
// PostgreSQL is to have its default isolation, read committed. At a stricter one workers
// fail instead of waiting for each other, and are tried again; and readers, see below, may
// find the views of a new generation without its last rows.
//
// SQLite has one transaction at a time that writes, so there a projection has one
// worker; the model finds that out by itself. Open the database with write-ahead
// logging, so that readers and the writer do not wait for each other, and with patience
// for other processes that write, for example as
// "file:sales.db?_journal_mode=WAL&_busy_timeout=10000".
//
// # Limits
//
// A model is that of one projection. Several can be in one database, if their tables
// have different names.
//
// A statement that failed ends the transaction, also if the handler ignores the error
// and the database would go on.
//
// To make new views PostgreSQL waits until those who read the old ones have ended their
// transactions, and others who come wait meanwhile. A query of several views at that
// moment may end with an error about a deadlock, and is then to be tried again. Rights
// on the old views, and what was made from them, do not carry over: grant rights by
// ALTER DEFAULT PRIVILEGES, and drop other views of them before a rebuild ends, or it
// fails. A reader whose transaction is of isolation repeatable read or stricter, and
// began before that moment, finds the new views, and of their rows those that were there
// when it began.
//
// If the statements that create the tables change, raise the version of the
// projection, see [projection.Options]: tables that are there stay as they are.
package sqlmodel
