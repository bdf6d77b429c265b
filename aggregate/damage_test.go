package aggregate_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
)

// damageEnv names the folder of damaged snapshot files that this process is to
// use, one after another.
const damageEnv = "HEADWATER_TEST_DAMAGED"

// A trial is what the process that uses damaged files is told.
type trial struct {
	URL    string
	Log    string // its identity
	Schema string
	// States are the states that each account had, by id and version, as JSON,
	// and Last the last versions.
	States map[string]map[uint64]string
	Last   map[string]uint64
	Files  []string
}

// outcome is what became of a file.
type outcome struct {
	File          string
	Hits, Misses  uint64
	Damaged       uint64
	SetAside      uint64
	Complaints    []string
	FoundAtReopen int
}

// TestDamagedSnapshots damages a file of snapshots in every kind of page, cuts it,
// or puts another file in its place, and loads every account from it, in a process
// of its own. No state is ever wrong, and the process lives.
func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	each := 3
	if soaking {
		each = 70
	}
	d := newDamaged(t)
	d.build(t, random)
	made := d.mutations(t, random, each)
	total := map[string]uint64{}
	for len(made) > 0 {
		n := min(len(made), 50)
		for _, o := range d.try(t, made[:n]) {
			total["files"]++
			total["hits"] += o.Hits
			total["misses"] += o.Misses
			total["damaged values"] += o.Damaged
			total["set aside"] += o.SetAside
			if o.FoundAtReopen == 0 {
				t.Errorf("%s: nothing was saved after it", o.File)
			}
			for _, c := range o.Complaints {
				t.Errorf("%s: %s", o.File, c)
			}
		}
		made = made[n:]
	}
	t.Logf("%v", total)
	if total["set aside"] == 0 || total["damaged values"] == 0 || total["hits"] == 0 {
		t.Error("the damage was no damage, or left nothing")
	}
}

// damaged is a log, the snapshots of its accounts, and what is right.
type damaged struct {
	trial
	dir   string
	sound []byte // the file
	other []byte // that of another log
}

func newDamaged(t *testing.T) *damaged {
	server, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return &damaged{trial: trial{URL: server.URL(), States: make(map[string]map[uint64]string), Last: make(map[string]uint64)}, dir: t.TempDir()}
}

// build fills two logs with the same accounts, and keeps the states of them.
func (d *damaged) build(t *testing.T, random *rand.Rand) {
	t.Helper()
	const accounts = 250
	for _, log := range []string{"other", "bank"} {
		store := d.store(t, log)
		path := filepath.Join(d.dir, log)
		snaps := openSnapshots(t, path)
		repo := aggregate.NewRepository[Account](store, "account", codec, &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(1)})
		for range 3 { // which leaves free pages
			for i := range accounts {
				id := fmt.Sprint("account ", i)
				size := random.IntN(400)
				if i%50 == 0 {
					size = 20_000 // more than a page
				}
				a, at := execute(t, repo, id, Deposit{{Amount: random.IntN(1000), Note: strings.Repeat("n", size)}, {Amount: 1}}, "")
				if log == "bank" {
					d.know(t, id, a, at.Version)
				}
			}
			flush(t, snaps)
		}
		for info, err := range snaps.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			d.Schema = info.Schema
		}
		d.Log = store.Identity()
		if err := snaps.Close(); err != nil {
			t.Fatal(err)
		}
		d.other = d.sound
		var err error
		if d.sound, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *damaged) store(t *testing.T, log string) *eventstore.Store {
	t.Helper()
	nc, err := nats.Connect(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store, err := eventstore.Open(t.Context(), nc, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (d *damaged) know(t *testing.T, id string, a Account, version uint64) {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if d.States[id] == nil {
		d.States[id] = make(map[uint64]string)
	}
	d.States[id][version], d.Last[id] = string(text), version
}

const pageSize = 4096

// pages returns where the pages of each kind are, from their headers.
func (d *damaged) pages(t *testing.T) map[string][]int {
	t.Helper()
	if size := binary.LittleEndian.Uint32(d.sound[24:]); size != pageSize {
		t.Skipf("the file has pages of %d bytes", size)
	}
	kinds := make(map[string][]int)
	for at := 0; at+pageSize <= len(d.sound); at += pageSize {
		header := d.sound[at:]
		kind := map[uint16]string{1: "branch", 2: "leaf", 4: "meta", 16: "freelist"}[binary.LittleEndian.Uint16(header[8:])]
		if binary.LittleEndian.Uint64(header) != uint64(at/pageSize) || kind == "" {
			kind = "data"
		}
		kinds[kind] = append(kinds[kind], at)
	}
	for _, kind := range []string{"branch", "leaf", "meta", "freelist", "data"} {
		if len(kinds[kind]) == 0 {
			t.Fatalf("the file has no %s page", kind)
		}
	}
	return kinds
}

// mutations writes damaged files, so many of each kind, and returns their names.
func (d *damaged) mutations(t *testing.T, random *rand.Rand, each int) (files []string) {
	t.Helper()
	write := func(kind string, change func(b []byte) []byte) {
		for i := range each {
			path := filepath.Join(d.dir, fmt.Sprintf("%s-%d", kind, i))
			if err := os.WriteFile(path, change(bytes.Clone(d.sound)), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, path)
		}
	}
	scramble := func(b []byte) {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	for kind, pages := range d.pages(t) {
		page := func(b []byte) []byte {
			at := pages[random.IntN(len(pages))]
			return b[at : at+pageSize]
		}
		flip := func(b []byte, within int) { b[random.IntN(within)] ^= 1 << random.IntN(8) }
		write(kind+"-bit", func(b []byte) []byte { flip(page(b), pageSize); return b })
		write(kind+"-header-bit", func(b []byte) []byte { flip(page(b), 80); return b })
		write(kind+"-zeros", func(b []byte) []byte { clear(page(b)); return b })
		write(kind+"-random", func(b []byte) []byte { scramble(page(b)); return b })
		write(kind+"-swapped", func(b []byte) []byte { copy(page(b), page(bytes.Clone(b))); return b })
	}
	write("cut", func(b []byte) []byte { return b[:random.IntN(len(b))] })
	write("cut-at-page", func(b []byte) []byte { return b[:random.IntN(len(b)/pageSize)*pageSize] })
	write("random", func(b []byte) []byte { b = b[:1+random.IntN(len(b))]; scramble(b); return b })
	write("other-log", func([]byte) []byte { return bytes.Clone(d.other) })
	write("empty", func([]byte) []byte { return nil })
	write("other-version", func(b []byte) []byte { b[20], b[pageSize+20] = 3, 3; return b })
	write("many-bits", func(b []byte) []byte {
		for range 1 + random.IntN(200) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		return b
	})
	random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	return files
}

// try uses files in another process and returns what it says of them.
func (d *damaged) try(t *testing.T, files []string) (all []outcome) {
	t.Helper()
	d.Files = files
	told, err := json.Marshal(d.trial)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "trial.json")
	if err := os.WriteFile(path, told, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestUseDamaged$", "-test.v")
	cmd.Env = append(os.Environ(), damageEnv+"="+path)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if said, ok := strings.CutPrefix(line, "outcome "); ok {
			var o outcome
			if err := json.Unmarshal([]byte(said), &o); err != nil {
				t.Fatal(err)
			}
			all = append(all, o)
		}
	}
	if err != nil || len(all) != len(files) {
		t.Fatalf("the process came to %d of %d files: %v\n%s", len(all), len(files), err, out)
	}
	return all
}

// TestUseDamaged is the process of [TestDamagedSnapshots].
func TestUseDamaged(t *testing.T) {
	path := os.Getenv(damageEnv)
	if path == "" {
		t.Skip("run by TestDamagedSnapshots")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := new(damaged)
	if err := json.Unmarshal(text, &d.trial); err != nil {
		t.Fatal(err)
	}
	store := d.store(t, "bank")
	for _, file := range d.Files {
		said, err := json.Marshal(d.use(t.Context(), store, file))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("outcome %s\n", said)
	}
}

// use loads every account from a damaged file, some of them through a repository,
// which saves them again, and looks what is there when it is opened once more.
func (d *damaged) use(ctx context.Context, store *eventstore.Store, file string) (o outcome) {
	o.File = filepath.Base(file)
	complain := func(format string, args ...any) { o.Complaints = append(o.Complaints, fmt.Sprintf(format, args...)) }
	snaps, err := snapshot.Open(file, nil)
	if err != nil {
		complain("open: %v", err)
		return o
	}
	missing, _ := d.check(ctx, snaps, complain)
	repo := aggregate.NewRepository[Account](store, "account", codec, &aggregate.Options{Cache: -1, Snapshots: snaps, Policy: snapshot.Every(1)})
	for i := range 20 {
		missing = append(missing, fmt.Sprint("account ", i*12))
	}
	for _, id := range missing[:min(len(missing), 40)] {
		a, at, err := repo.Load(ctx, id)
		text, _ := json.Marshal(a)
		if err != nil || at.Version != d.Last[id] || string(text) != d.States[id][at.Version] {
			complain("%s is loaded as %.80s at %v, %v", id, text, at, err)
		}
	}
	// That fails where the damage shows now for the first time.
	_ = snaps.Flush(ctx)
	d.check(ctx, snaps, complain)
	st := snaps.Stats()
	o.Hits, o.Misses, o.Damaged, o.SetAside = st.Hits, st.Misses, st.Damaged, st.SetAside
	if err := snaps.Close(); err != nil {
		complain("close: %v", err)
	}
	if snaps, err = snapshot.Open(file, nil); err != nil {
		complain("open again: %v", err)
		return o
	}
	_, o.FoundAtReopen = d.check(ctx, snaps, complain)
	if err := snaps.Close(); err != nil {
		complain("close again: %v", err)
	}
	return o
}

// check loads the snapshot of every account, and returns those that have none.
func (d *damaged) check(ctx context.Context, snaps *snapshot.Store, complain func(string, ...any)) (missing []string, found int) {
	for id, states := range d.States {
		snap, ok := snaps.Load(ctx, eventstore.StreamID{Kind: "account", ID: id}, d.Log, d.Schema)
		switch {
		case !ok:
			missing = append(missing, id)
		case states[snap.At.Version] != string(snap.State):
			complain("the snapshot of %s at version %d is wrong: %.80s", id, snap.At.Version, snap.State)
		default:
			found++
		}
	}
	return missing, found
}
