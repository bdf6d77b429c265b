package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What happens to the files of one node of three.
var nodeMutations = []mutation{
	{kind: "bit in a stream's last message, old block", files: func(m *mutant) { m.flipIn(m.lastOfStream(true)) }},
	{kind: "bit in a stream's last message, last block", files: func(m *mutant) { m.flipIn(m.lastOfStream(false)) }},
	{kind: "old block cut", files: func(m *mutant) { m.cut(m.oldBlock()) }},
	{kind: "last block cut", files: func(m *mutant) { m.cut(m.lastBlock()) }},
	{kind: "old block removed", files: func(m *mutant) { m.removeFile(m.oldBlock()) }},
	{kind: "last block removed", files: func(m *mutant) { m.removeFile(m.lastBlock()) }},
	{kind: "index.db damaged or lost", files: func(m *mutant) { m.spoil(indexFile) }},
	{kind: "meta.inf damaged or lost", files: func(m *mutant) { m.spoil(metaFile) }},
}

// Damage on one node of three loses nothing and is not taken for damage of the
// log, whichever node leads.
func TestDamagedNode(t *testing.T) {
	t.Parallel()
	rng := eventstore.Seeded(t)
	only := rng.IntN(len(nodeMutations))
	for k, mu := range nodeMutations {
		if !soaking && k != only {
			continue
		}
		seed := rng.Uint64()
		t.Run(fmt.Sprintf("%s/%d", mu.kind, seed), func(t *testing.T) {
			commits := 100
			if soaking {
				commits = 1000
			}
			d := startReplicas(t, rand.New(rand.NewPCG(seed, seed)))
			d.damage(mu)
			d.use(commits)
		})
	}
}

// replicas are a cluster of three with a log, and what was acknowledged of it.
type replicas struct {
	*testing.T
	ledger
	rng     *rand.Rand
	dir     string
	cluster *embedded.Cluster
	nc      *nats.Conn
	store   *eventstore.Store
	damaged int // node
	leading int // node that was made the leader last
	retried int
}

func startReplicas(t *testing.T, rng *rand.Rand) *replicas {
	t.Helper()
	d := &replicas{T: t, ledger: newLedger(), rng: rng, dir: t.TempDir(), damaged: rng.IntN(3)}
	var err error
	if d.cluster, err = embedded.StartCluster(t.Context(), d.dir, 3, &embedded.Options{Relaxed: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	d.nc = testutil.Connect(t, d.cluster)
	d.store, err = eventstore.Open(t.Context(), d.nc, imageLog, &eventstore.Options{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	i := image{ledger: d.ledger}
	i.grow(t, d.store, rng, 0, imageStreams, 120)
	i.grow(t, d.store, rng, imageStreams/2, imageStreams, 120)
	d.ledger = i.ledger
	return d
}

// damage damages a node's files while it is stopped, in good order or killed.
func (d *replicas) damage(mu mutation) {
	d.Helper()
	m := &mutant{t: d.T, rng: d.rng, image: image{ledger: d.ledger, dir: filepath.Join(d.dir, fmt.Sprintf("node-%d", d.damaged))}}
	m.storedLog = m.image.stored(d)
	d.stop(d.damaged)
	m.split(imageBlock)
	if d.rng.IntN(2) == 0 {
		m.did("with index.db")
		d.restart(d.damaged) // which makes a new one when it stops
		d.stop(d.damaged)
	}
	mu.files(m)
	d.Logf("node %d: %s", d.damaged, strings.Join(m.what, "; "))
	d.restart(d.damaged)
}

func (d *replicas) stop(node int) {
	d.Helper()
	if err := d.cluster.Stop(node); err != nil {
		d.Fatal(err)
	}
}

func (d *replicas) restart(node int) {
	d.Helper()
	if err := d.cluster.Restart(d.Context(), node); err != nil {
		d.Fatal(err)
	}
}

// use appends to the log while its leaders take turns, the damaged node too.
func (d *replicas) use(commits int) {
	d.Helper()
	const turn = 50
	for n := range commits {
		if n%turn == 0 {
			d.lead((d.damaged + n/turn) % 3)
			d.load()
		}
		d.append(n)
		if d.Failed() {
			d.Fatalf("after %d appends", n+1)
		}
	}
	d.verify()
	d.Logf("%d appends, %d of them after another node was made leader", commits, d.retried)
}

// verify reads all that there is under each leader.
func (d *replicas) verify() {
	d.Helper()
	for node := range 3 {
		d.lead(node)
		d.load()
		report, err := d.store.Verify(d.Context(), nil)
		if err != nil || len(report.Damage) > 0 {
			d.Errorf("verify, node %d leads: %v %v", node, report.Damage, err)
		}
	}
}

// append appends one commit, and tries what must be refused.
func (d *replicas) append(n int) {
	d.Helper()
	id := imageID(d.rng.IntN(imageStreams))
	end := d.end(id)
	text := fmt.Sprint("commit ", n)
	if d.rng.IntN(8) == 0 {
		d.refused(id, eventstore.NoStream, text)
	}
	// Who holds a revision that is not the last is refused by a sound node.
	if all := d.commits[id]; d.rng.IntN(4) == 0 && len(all) > 1 && d.leading != d.damaged {
		d.refused(id, all[d.rng.IntN(len(all)-1)].at, text)
	}
	expected := []eventstore.Expectation{end, end, end, eventstore.Any, eventstore.Exists, eventstore.Version(end.Version)}[d.rng.IntN(6)]
	at, err := d.try(id, expected, text)
	if err != nil || at.Version != end.Version+1 {
		d.Errorf("append to %s, expecting %v: version %d after %d, %v", id, expected, at.Version, end.Version, err)
		return
	}
	d.add(id, at, []string{text})
}

func (d *replicas) refused(id eventstore.StreamID, expected eventstore.Expectation, text string) {
	d.Helper()
	if at, err := d.try(id, expected, text); !errors.Is(err, eventstore.ErrConflict) {
		d.Errorf("append to %s, which has version %d, expecting %v: version %d, %v", id, d.end(id).Version, expected, at.Version, err)
	}
}

// try appends, and once more under another leader if the first says in time
// that the log cannot be reached or that it does not know.
func (d *replicas) try(id eventstore.StreamID, expected eventstore.Expectation, text string) (eventstore.Revision, error) {
	d.Helper()
	opts := named(fmt.Sprint(text, " ", d.rng.Uint64()))
	once := func(patience time.Duration) (eventstore.Revision, error) {
		ctx, cancel := context.WithTimeout(d.Context(), patience)
		defer cancel()
		return d.store.Append(ctx, id, expected, events(text), opts)
	}
	at, err := once(5 * time.Second)
	if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome) {
		d.Logf("append to %s: %v", id, err)
		d.retried++
		d.lead((d.damaged + 1 + d.rng.IntN(2)) % 3)
		at, err = once(time.Minute)
	}
	return at, err
}

// load reads all streams, under whatever leader there is.
func (d *replicas) load() {
	d.Helper()
	for _, id := range d.ids {
		got, err := collect(d.store.Read(d.Context(), id, nil))
		if err != nil {
			d.Errorf("%s leads: read %s: %v", d.leader(), id, err)
		} else if why := d.differs(id, got); why != "" {
			d.Errorf("%s leads: read %s: %s", d.leader(), id, why)
		}
	}
}

func (d *replicas) ask(subject, body string) []byte {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), time.Second)
	defer cancel()
	m, err := d.nc.RequestWithContext(ctx, subject, []byte(body))
	if err != nil {
		return nil
	}
	return m.Data
}

// info returns what the log's leader says of it, nothing while there is none.
func (d *replicas) info() (info jetstream.StreamInfo) {
	d.Helper()
	if data := d.ask("$JS.API.STREAM.INFO."+imageLog, ""); data != nil {
		if err := json.Unmarshal(data, &info); err != nil {
			d.Fatal(err)
		}
	}
	return info
}

// leader returns the name of the log's leader, "" while there is none.
func (d *replicas) leader() string {
	d.Helper()
	if info := d.info(); info.Cluster != nil {
		return info.Cluster.Leader
	}
	return ""
}

// lead makes a node the log's leader.
func (d *replicas) lead(node int) {
	d.Helper()
	d.leading = node
	name := fmt.Sprintf("node-%d", node)
	eventually(d.T, name+" leads", func() bool {
		if d.leader() == name {
			return true
		}
		d.ask("$JS.API.STREAM.LEADER.STEPDOWN."+imageLog, fmt.Sprintf(`{"placement":{"preferred":%q}}`, name))
		return false
	})
}
