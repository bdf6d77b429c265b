package projection_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// vault is a model for tests: transactions run in parallel, of which those that read
// what another one changed fail, and a journal has what each one did, in their order.
type vault struct {
	shared bool

	mu          sync.Mutex
	records     map[string][]byte
	versions    map[string]int // of records, also of those that are gone
	generations map[uint64]bool
	journal     []transaction
}

// transaction is one that was committed.
type transaction struct {
	records map[string][]byte // that it changed; nil: removed
	effects []effect
	shown   uint64 // the generation that it showed, 0: none
	dropped uint64
}

// effect is an event that was handled.
type effect struct {
	generation uint64
	stream     eventstore.StreamID
	version    uint64
	position   uint64
}

func newVault(shared bool) *vault {
	return &vault{shared: shared, records: map[string][]byte{}, versions: map[string]int{}, generations: map[uint64]bool{}}
}

func (v *vault) Traits() projection.Traits {
	return projection.Traits{Shared: v.shared, Parallel: true}
}

func (v *vault) Records(_ context.Context, _ string, f func(projection.Records) error) error {
	v.mu.Lock()
	now := maps.Clone(v.records)
	v.mu.Unlock()
	return f(&vaultTx{snapshot: now})
}

var errConflict = errors.New("another transaction was faster")

func (v *vault) Update(ctx context.Context, _ string, f func(projection.Tx[*vaultTx]) error) error {
	v.mu.Lock()
	tx := &vaultTx{snapshot: maps.Clone(v.records), generations: maps.Clone(v.generations), read: map[string]int{}, versions: maps.Clone(v.versions)}
	v.mu.Unlock()
	tx.records = map[string][]byte{}
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, version := range tx.read {
		if v.versions[key] != version {
			return errConflict
		}
	}
	for key, value := range tx.records {
		v.versions[key]++
		if value == nil {
			delete(v.records, key)
			continue
		}
		v.records[key] = value
	}
	maps.Copy(v.generations, tx.generations)
	if tx.dropped > 0 {
		delete(v.generations, tx.dropped)
	}
	v.journal = append(v.journal, tx.transaction)
	return nil
}

// vaultTx is a transaction, and what handlers get.
type vaultTx struct {
	transaction
	snapshot    map[string][]byte
	generations map[uint64]bool
	read        map[string]int
	versions    map[string]int
	data        uint64
}

func (t *vaultTx) note(key string) {
	if t.read != nil {
		t.read[key] = t.versions[key]
	}
}

func (t *vaultTx) Get(key string) ([]byte, error) {
	if value, ok := t.records[key]; ok {
		return value, nil
	}
	t.note(key)
	return t.snapshot[key], nil
}

func (t *vaultTx) List(prefix string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for _, records := range []map[string][]byte{t.snapshot, t.records} {
		for key, value := range records {
			if strings.HasPrefix(key, prefix) {
				t.note(key)
				all[key] = value
			}
		}
	}
	maps.DeleteFunc(all, func(_ string, value []byte) bool { return value == nil })
	return all, nil
}

func (t *vaultTx) Put(key string, value []byte) error {
	t.note(key)
	t.records[key] = value
	return nil
}

func (t *vaultTx) Data(generation uint64) (*vaultTx, error) {
	if !t.generations[generation] {
		return nil, fmt.Errorf("generation %d: %w", generation, projection.ErrNoGeneration)
	}
	t.data = generation
	return t, nil
}

func (t *vaultTx) Create(generation uint64) error {
	t.generations[generation] = true
	return nil
}

func (t *vaultTx) Show(generation uint64) error {
	t.shown = generation
	return nil
}

func (t *vaultTx) Drop(generation uint64) error {
	delete(t.generations, generation)
	t.dropped = generation
	return nil
}

// handle notes an event.
func (t *vaultTx) handle(at projection.Event) {
	t.effects = append(t.effects, effect{t.data, at.Stream, at.Version, at.Position})
}
