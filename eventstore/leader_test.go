package eventstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// While a damaged node leads and it shows, nothing is accepted that another node
// would refuse. A block whose structure is damaged shows only when the node reads
// it, and that may be for the append itself: such an append forks its stream, and
// whoever reads the stream next is told.
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
			for id := range d.stale() {
				if _, err := collect(d.store.Read(d.Context(), id, nil)); !errors.Is(err, eventstore.ErrCorrupt) {
					d.Errorf("the fork of %s is read: %v", id, err)
				}
				d.ids = slices.DeleteFunc(d.ids, func(other eventstore.StreamID) bool { return other == id })
			}
			d.load()
		})
	}
}

// stale tries every recent revision that is no longer the last one of its
// stream, and that there is none, while the damaged node leads. It returns the
// streams that were forked, one at most: from then on the damage shows.
func (d *replicas) stale() map[eventstore.StreamID]bool {
	d.Helper()
	const recent = 4
	forked := make(map[eventstore.StreamID]bool)
	for _, id := range d.ids {
		d.refused(id, eventstore.NoStream, "stale")
		all := d.commits[id]
		for _, c := range all[max(len(all)-recent, 0) : len(all)-1] {
			if d.info().State.NumDeleted > 0 {
				d.refused(id, c.at, "stale")
				continue
			}
			at, err := d.try(id, c.at, "stale")
			if err == nil {
				d.Logf("append to %s after version %d is version %d", id, c.at.Version, at.Version)
				forked[id] = true
				break
			}
			if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrCorrupt) {
				d.Errorf("append to %s after version %d: %v", id, c.at.Version, err)
			}
		}
	}
	if len(forked) > 1 {
		d.Errorf("%d streams are forked", len(forked))
	}
	return forked
}
