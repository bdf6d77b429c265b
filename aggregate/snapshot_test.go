package aggregate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/headwater-go/headwater/testutil"
)

// openSnapshots opens a file that is closed with the test.
func openSnapshots(t *testing.T, path string) *snapshot.Store {
	t.Helper()
	s, err := snapshot.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func snapshots(t *testing.T) *snapshot.Store {
	t.Helper()
	return openSnapshots(t, filepath.Join(t.TempDir(), "snapshots"))
}

func flush(t *testing.T, s *snapshot.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// versions are those of the snapshots of a store, by stream.
func versions(t *testing.T, s *snapshot.Store) map[string]uint64 {
	t.Helper()
	all := make(map[string]uint64)
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[info.Stream.ID] = info.Version
	}
	return all
}

// cold returns the accounts as a process has them that has just started.
func cold(store aggregate.Store, snaps *snapshot.Store, schema string) *Accounts {
	return aggregate.NewRepository[Account](store, "account", codec, &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(10), Schema: schema})
}

// A snapshot is taken every so many events, on appends and on loads, and only
// what is newer is read then.
func TestSnapshotAndTail(t *testing.T) {
	t.Parallel()
	store, snaps := &counted{Store: testutil.Store(t)}, snapshots(t)
	accounts := cold(store, snaps, "")
	for i := range 25 {
		execute(t, accounts, "1", Deposit{{Amount: 1, Note: fmt.Sprint(i)}}, fmt.Sprint("command ", i))
	}
	flush(t, snaps)
	if got := versions(t, snaps)["1"]; got != 20 {
		t.Errorf("25 commands, and the snapshot is of version %d", got)
	}
	store.costs(t, "25 commands", 25, 1, 0)
	accounts = cold(store, snaps, "")
	want(t, accounts, "1", 25, 25)
	store.costs(t, "a cold load", 0, 1, 5)

	// A quiet one gets a snapshot when it is loaded.
	quiet := aggregate.NewRepository[Account](store.Store, "account", codec, nil)
	for range 30 {
		execute(t, quiet, "quiet", Deposit{{Amount: 1}}, "")
	}
	want(t, accounts, "quiet", 30, 30)
	flush(t, snaps)
	store.costs(t, "a load without a snapshot", 0, 1, 30)
	accounts = cold(store, snaps, "")
	want(t, accounts, "quiet", 30, 30)
	store.costs(t, "a load with one", 0, 1, 0)
	if got, want := accounts.Stats(), (aggregate.Stats{FromSnapshot: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}

	// Earlier versions, too, begin with a snapshot, but for its own: only an
	// event after it shows that it is of the log.
	accounts = cold(store, snaps, "")
	for version, read := range map[uint64]int64{24: 4, 25: 5, 26: 5, 20: 20, 19: 19} {
		a, at, err := accounts.LoadVersion(t.Context(), "1", version)
		if err != nil || at.Version != min(version, 25) || len(a.Notes) != int(at.Version) {
			t.Errorf("version %d: %+v at %v, %v", version, a, at, err)
		}
		store.costs(t, fmt.Sprint("version ", version), 0, 1, read)
	}

	// Commands from before the snapshot are known.
	a, at := execute(t, accounts, "1", Deposit{{Amount: 99}}, "command 3")
	if a.Balance != 4 || at.Version != 4 || !at.Replayed {
		t.Errorf("a command from before the snapshot: %+v at %+v", a, at)
	}
	if a, at := execute(t, cold(store, snaps, ""), "1", Deposit{{Amount: 99}}, "command 24"); a.Balance != 25 || !at.Replayed {
		t.Errorf("the last command: %+v at %+v", a, at)
	}
}

// Another schema, or a state of another type, folds the log.
func TestSnapshotOfAnotherSchema(t *testing.T) {
	t.Parallel()
	store, snaps := testutil.Store(t), snapshots(t)
	execute(t, cold(store, snaps, ""), "1", make(Deposit, 10), "")
	flush(t, snaps)
	want(t, cold(store, snaps, "2"), "1", 0, 10)
	total := aggregate.NewRepository[Total](store, "account", codec, &aggregate.Options{Snapshots: snaps})
	if a, _, err := total.Load(t.Context(), "1"); err != nil || a.Events != 10 {
		t.Errorf("a state of another type: %+v, %v", a, err)
	}
	if st := snaps.Stats(); st.OtherSchema != 2 || st.Hits != 0 {
		t.Errorf("counted %+v", st)
	}
	flush(t, snaps) // that of the second schema
	want(t, cold(store, snaps, "2"), "1", 0, 10)
	if st := snaps.Stats(); st.Hits != 1 {
		t.Errorf("counted %+v", st)
	}
}

// Base and the states of it differ in ways that JSON cares about.
type Base struct{ Balance int }

type Embedding struct{ Base }
type Holding struct{ Base Base }
type Renamed struct {
	Balance int `json:"balance"`
}
type Wider struct{ Balance int64 }
type Priced struct{ Balance price }
type PricedAnew struct{ Balance newPrice }

// price and newPrice say themselves how they are written.
type price struct{ Cents int }
type newPrice struct{ Cents, Tax int }

func (p price) MarshalText() ([]byte, error)     { return []byte(strconv.Itoa(p.Cents)), nil }
func (p *price) UnmarshalText(b []byte) error    { return json.Unmarshal(b, &p.Cents) }
func (p newPrice) MarshalText() ([]byte, error)  { return []byte(strconv.Itoa(p.Cents)), nil }
func (p *newPrice) UnmarshalText(b []byte) error { return json.Unmarshal(b, &p.Cents) }
func (b Base) Evolve(Event) Base                 { return b }
func (b Embedding) Evolve(Event) Embedding       { return b }
func (b Holding) Evolve(Event) Holding           { return b }
func (b Renamed) Evolve(Event) Renamed           { return b }
func (b Wider) Evolve(Event) Wider               { return b }
func (b Priced) Evolve(Event) Priced             { return b }
func (b PricedAnew) Evolve(Event) PricedAnew     { return b }

// schema returns the schema of the snapshots of a state.
func schema[S aggregate.State[S, Event]](t *testing.T, store *eventstore.Store) (schema string) {
	t.Helper()
	snaps := snapshots(t)
	repo := aggregate.NewRepository[S](store, "account", codec, &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(1)})
	if _, _, err := repo.Load(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	for info, err := range snaps.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		schema = info.Schema
	}
	return schema
}

// What is different as JSON has different schemas.
func TestSchemas(t *testing.T) {
	t.Parallel()
	store := testutil.Store(t)
	execute(t, cold(store, nil, ""), "1", Deposit{{Amount: 1}}, "")
	seen := make(map[string]string)
	for name, s := range map[string]string{
		"Base": schema[Base](t, store), "Embedding": schema[Embedding](t, store), "Holding": schema[Holding](t, store),
		"Renamed": schema[Renamed](t, store), "Wider": schema[Wider](t, store), "Total": schema[Total](t, store),
		"Priced": schema[Priced](t, store), "PricedAnew": schema[PricedAnew](t, store),
	} {
		if s == "" || seen[s] != "" {
			t.Errorf("%s has the schema %q, as %s", name, s, seen[s])
		}
		seen[s] = name
	}
	if a, b := schema[Base](t, store), schema[Base](t, store); a != b {
		t.Errorf("a state has the schemas %s and %s", a, b)
	}
}

// Moody has another form than its fields, which may be of an older program.
type Moody struct{ Cents *big.Int }

func (m Moody) Evolve(e Event) Moody {
	sum := new(big.Int)
	if m.Cents != nil {
		sum.Set(m.Cents)
	}
	if d, ok := e.(Deposited); ok {
		sum.Add(sum, big.NewInt(int64(d.Amount)))
	}
	return Moody{sum}
}

func (m Moody) Equal(o Moody) bool { return m.Cents.Cmp(o.Cents) == 0 }

func (m *Moody) MarshalBinary() ([]byte, error) { return []byte(m.Cents.String()), nil }

func (m *Moody) UnmarshalBinary(b []byte) error {
	sum, ok := new(big.Int).SetString(string(b), 10)
	if !ok {
		panic("an old form")
	}
	m.Cents = sum
	return nil
}

// A state says itself how it is written and when it is the same. What it cannot
// read is folded anew.
func TestStateWithItsOwnForm(t *testing.T) {
	t.Parallel()
	store, snaps := testutil.Store(t), snapshots(t)
	execute(t, cold(store, nil, ""), "1", Deposit{{Amount: 5}, {Amount: -5}}, "")
	load := func() {
		t.Helper()
		repo := aggregate.NewRepository[Moody](store, "account", codec, &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(1)})
		if m, _, err := repo.Load(t.Context(), "1"); err != nil || m.Cents.Sign() != 0 {
			t.Errorf("loaded %v, %v", m, err)
		}
		flush(t, snaps)
	}
	load()
	load()
	if st := snaps.Stats(); st.Saved != 1 || st.Hits != 1 {
		t.Fatalf("counted %+v", st)
	}
	for info, err := range snaps.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		old, _ := snaps.Load(t.Context(), info.Stream, info.Log, info.Schema)
		snaps.Discard(old, errors.New("to replace it"))
		snaps.Save(old, func() ([]byte, error) { return []byte("old"), nil })
		flush(t, snaps)
	}
	load()
	load()
	if st := snaps.Stats(); st.Discarded != 2 || st.Saved != 3 || st.Hits != 4 {
		t.Errorf("counted %+v", st)
	}
}

// Total is an Account that counts its events too.
type Total struct {
	Balance, Events int
	Notes           []string
}

func (a Total) Evolve(Event) Total {
	a.Events++
	return a
}

// Shy is a state of which JSON sees nothing.
type Shy struct{ balance int }

func (s Shy) Evolve(e Event) Shy {
	if d, ok := e.(Deposited); ok {
		s.balance += d.Amount
	}
	return s
}

// Frank says itself how it is written.
type Frank struct{ Shy }

func (f Frank) Evolve(e Event) Frank            { return Frank{f.Shy.Evolve(e)} }
func (f Frank) MarshalBinary() ([]byte, error)  { return json.Marshal(f.balance) }
func (f *Frank) UnmarshalBinary(b []byte) error { return json.Unmarshal(b, &f.balance) }

// A state that would not come back as it was is not kept.
func TestStateThatCannotBeKept(t *testing.T) {
	t.Parallel()
	store, snaps := testutil.Store(t), snapshots(t)
	execute(t, cold(store, nil, ""), "1", Deposit{{Amount: 7}}, "")
	opts := &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(1)}
	for range 2 {
		a, _, err := aggregate.NewRepository[Shy](store, "account", codec, opts).Load(t.Context(), "1")
		if err != nil || a.balance != 7 {
			t.Errorf("loaded %+v, %v", a, err)
		}
		flush(t, snaps)
	}
	if st := snaps.Stats(); st.Failed != 2 || st.Saved != 0 {
		t.Errorf("counted %+v", st)
	}
	for range 2 {
		a, _, err := aggregate.NewRepository[Frank](store, "account", codec, opts).Load(t.Context(), "1")
		if err != nil || a.balance != 7 {
			t.Errorf("loaded %+v, %v", a, err)
		}
		flush(t, snaps)
	}
	if st := snaps.Stats(); st.Saved != 1 || st.Hits != 1 {
		t.Errorf("counted %+v", st)
	}
}

// A log that was set back to an older copy has not come to the snapshot, and
// later has another history.
func TestSnapshotAheadOfTheLog(t *testing.T) {
	t.Parallel()
	dir, older := t.TempDir(), t.TempDir()
	server, store := openServer(t, dir)
	execute(t, cold(store, nil, ""), "1", make(Deposit, 5), "")
	execute(t, cold(store, nil, ""), "2", make(Deposit, 5), "")
	execute(t, cold(store, nil, ""), "3", make(Deposit, 10), "")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	server, store = openServer(t, dir)
	snaps := snapshots(t)
	accounts := cold(store, snaps, "")
	for _, id := range []string{"1", "2", "3", "4"} {
		execute(t, accounts, id, Deposit{{Amount: 1}, {Amount: 1}, {Amount: 1}, {Amount: 1}, {Amount: 1}, {}, {}, {}, {}, {}}, "")
	}
	flush(t, snaps)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}

	_, store = openServer(t, older)
	accounts = cold(store, snaps, "")
	start := time.Now()
	want(t, accounts, "1", 0, 5)
	want(t, accounts, "4", 0, 0)
	for range 2 { // which makes it longer than it was
		execute(t, cold(store, nil, ""), "2", append(make(Deposit, 9), Deposited{Amount: 100}), "")
		execute(t, cold(store, nil, ""), "3", Deposit{{Amount: 100}}, "")
	}
	want(t, accounts, "2", 200, 25)
	want(t, accounts, "3", 200, 12)
	if st := snaps.Stats(); st.Discarded != 4 {
		t.Errorf("counted %+v", st)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	// From now on there are others.
	flush(t, snaps)
	accounts = cold(store, snaps, "")
	want(t, accounts, "2", 200, 25)
	want(t, accounts, "3", 200, 12)
	if got := accounts.Stats(); got.FromSnapshot != 2 {
		t.Errorf("counted %+v", got)
	}
}

func openServer(t *testing.T, dir string) (*embedded.Server, *eventstore.Store) {
	t.Helper()
	server, err := embedded.Start(t.Context(), dir, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	store, err := eventstore.Open(t.Context(), testutil.Connect(t, server), "bank", nil)
	if err != nil {
		t.Fatal(err)
	}
	return server, store
}
