package eventstore_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// While a damaged node leads, nothing is accepted that another node would
// refuse.
func TestDamagedLeader(t *testing.T) {
	t.Parallel()
	rng := eventstore.Seeded(t)
	old := slices.IndexFunc(nodeMutations, func(mu mutation) bool { return mu.kind == "old block cut" })
	for k, mu := range nodeMutations {
		if !soaking && k != old {
			continue
		}
		seed := rng.Uint64()
		t.Run(fmt.Sprintf("%s/%d", mu.kind, seed), func(t *testing.T) {
			d := startReplicas(t, rand.New(rand.NewPCG(seed, seed)))
			d.damage(mu)
			d.lead(d.damaged)
			d.stale()
			d.load()
		})
	}
}

// stale tries every recent revision that is no longer the last one of its
// stream, and that there is none, while the damaged node leads.
func (d *replicas) stale() {
	d.Helper()
	const recent = 4
	for _, id := range d.ids {
		d.refused(id, eventstore.NoStream, "stale")
		all := d.commits[id]
		for _, c := range all[max(len(all)-recent, 0) : len(all)-1] {
			d.refused(id, c.at, "stale")
		}
	}
}
