package projection_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/postgres"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
)

// soaking says that tests run in their long form.
var soaking = os.Getenv("HEADWATER_SOAK") != ""

// seeded returns a source of random numbers. It prints the seed, and takes it from
// HEADWATER_SEED where that is set.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// entry is an account in the ledger.
type entry struct {
	Balance int `json:"balance"`
	Events  int `json:"events"`
}

// A ledger is a projection on one kind of read model.
type ledger struct {
	runner
	catchUp  func(ctx context.Context) error
	rebuild  func(ctx context.Context, opts *projection.RebuildOptions) (projection.Rebuilt, error)
	position func(ctx context.Context) (uint64, error)
	read     func(ctx context.Context) (map[string]entry, error)
	close    func() error
}

// ledgerKinds open ledgers on the read models there are. at is a path, or how to find
// the database.
var ledgerKinds = map[string]func(store *eventstore.Store, at string, opts *projection.Options) (*ledger, error){
	"file": fileLedger, "memory": memoryLedger, "postgres": postgresLedger,
}

func newLedger[T any](p *projection.Projection[T], err error) (*ledger, error) {
	if err != nil {
		return nil, err
	}
	return &ledger{runner: p, catchUp: p.CatchUp, rebuild: p.Rebuild, position: func(ctx context.Context) (uint64, error) {
		all, err := p.Generations(ctx)
		for _, g := range all {
			if g.Live {
				return g.Position, err
			}
		}
		return 0, err
	}}, nil
}

func fileLedger(store *eventstore.Store, path string, opts *projection.Options) (*ledger, error) {
	file, err := projection.OpenFile(path)
	if err != nil {
		return nil, err
	}
	l, err := newLedger(projection.New("ledger", store, file, projection.From("account", codec, projection.On(enterInBucket)), opts))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.close = file.Close
	l.read = func(context.Context) (map[string]entry, error) {
		all := make(map[string]entry)
		return all, file.View("ledger", func(b *bbolt.Bucket) error { return readBucket(b, all) })
	}
	return l, nil
}

func readBucket(b *bbolt.Bucket, all map[string]entry) error {
	return b.ForEach(func(id, value []byte) error {
		var e entry
		err := json.Unmarshal(value, &e)
		all[string(id)] = e
		return err
	})
}

func enterInBucket(_ context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
	var now entry
	if value := b.Get([]byte(at.Stream.ID)); value != nil {
		if err := json.Unmarshal(value, &now); err != nil {
			return err
		}
	}
	value, err := json.Marshal(entry{now.Balance + e.Amount, now.Events + 1})
	if err != nil {
		return err
	}
	return b.Put([]byte(at.Stream.ID), value)
}

func memoryLedger(store *eventstore.Store, path string, opts *projection.Options) (*ledger, error) {
	file, err := projection.OpenFile(path)
	if err != nil {
		return nil, err
	}
	memory := projection.NewMemory(file, func() map[string]entry { return map[string]entry{} })
	l, err := newLedger(projection.New("ledger", store, memory, projection.From("account", codec,
		projection.On(func(_ context.Context, all *map[string]entry, e deposited, at projection.Event) error {
			now := (*all)[at.Stream.ID]
			(*all)[at.Stream.ID] = entry{now.Balance + e.Amount, now.Events + 1}
			return nil
		})), opts))
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.close = file.Close
	l.read = func(ctx context.Context) (all map[string]entry, err error) {
		err = memory.View(ctx, "ledger", func(now *map[string]entry) error {
			all = maps.Clone(*now)
			return nil
		})
		return all, err
	}
	return l, nil
}

func postgresLedger(store *eventstore.Store, dsn string, opts *projection.Options) (*ledger, error) {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return nil, err
	}
	model, err := sqlmodel.New(db, "CREATE TABLE {ledger} (id TEXT PRIMARY KEY, balance BIGINT NOT NULL, events BIGINT NOT NULL)")
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l, err := newLedger(projection.New("ledger", store, model, projection.From("account", codec,
		projection.On(func(_ context.Context, tx *sqlmodel.Tx, e deposited, at projection.Event) error {
			_, err := tx.Exec(`INSERT INTO {ledger} AS l (id, balance, events) VALUES ($1, $2, 1)
				ON CONFLICT (id) DO UPDATE SET balance = l.balance + excluded.balance, events = l.events + 1`, at.Stream.ID, e.Amount)
			return err
		})), opts))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l.close = db.Close
	l.read = func(ctx context.Context) (map[string]entry, error) { return readTable(ctx, db) }
	return l, nil
}

func readTable(ctx context.Context, db *sql.DB) (map[string]entry, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, balance, events FROM ledger")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[string]entry)
	for rows.Next() {
		var id string
		var e entry
		if err := rows.Scan(&id, &e.Balance, &e.Events); err != nil {
			return nil, err
		}
		all[id] = e
	}
	return all, rows.Err()
}

// foldLedger returns the ledger that the log comes to.
func foldLedger(t testing.TB, store *eventstore.Store) map[string]entry {
	t.Helper()
	all := make(map[string]entry)
	for e, err := range store.Log(t.Context(), 0, &eventstore.LogOptions{Kinds: []string{"account"}}) {
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := codec.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := decoded.(deposited); ok {
			now := all[e.Stream.ID]
			all[e.Stream.ID] = entry{now.Balance + d.Amount, now.Events + 1}
		}
	}
	return all
}

// fill appends commits of one to four events to accounts, from several goroutines.
func fill(t testing.TB, store *eventstore.Store, events, accounts int, seed uint64) {
	const writers = 16
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for left := events / writers; left > 0; {
				data := make([]eventstore.EventData, 1+rng.IntN(4))
				for i := range data {
					data[i] = eventstore.EventData{Type: deposited{}.EventType(), Data: fmt.Appendf(nil, `{"amount":%d}`, rng.IntN(1000)-300)}
				}
				id := fmt.Sprint(w + writers*rng.IntN(max(accounts/writers, 1)))
				if _, err := store.Append(t.Context(), account(id), eventstore.Any, data, nil); err != nil {
					if t.Context().Err() == nil {
						t.Error(err)
					}
					return
				}
				left -= len(data)
			}
		})
	}
	writing.Wait()
}

// childEnv makes the test binary a process that projects, or rebuilds, until it is
// killed: what it does, the kind of read model, where that is, and the server, each on a
// line.
const childEnv = "HEADWATER_TEST_LEDGER"

// It projects in small transactions, of which it is killed in as many as possible, and
// rebuilds in large ones.
func ledgerChild(args string) error {
	f := strings.Split(args, "\n")
	nc, err := nats.Connect(f[3])
	if err != nil {
		return err
	}
	store, err := eventstore.Open(context.Background(), nc, "test", nil)
	if err != nil {
		return err
	}
	batch := 5
	if f[0] == "rebuild" {
		batch = 0
	}
	l, err := ledgerKinds[f[1]](store, f[2], &projection.Options{Batch: batch})
	if err != nil {
		return err
	}
	fmt.Println("begun")
	if f[0] == "rebuild" {
		_, err := l.rebuild(context.Background(), nil)
		return err
	}
	return l.Run(context.Background())
}

// place returns where a ledger of a kind can be.
func place(t testing.TB, kind string) string {
	if kind == "postgres" {
		return postgres.Start(t)
	}
	return filepath.Join(t.TempDir(), "models")
}
