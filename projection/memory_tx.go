package projection

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
)

// memoryRecords are records, and over them those of a transaction, of which nil ones
// are removed.
type memoryRecords struct{ below, above map[string][]byte }

func (r memoryRecords) Get(key string) ([]byte, error) {
	if value, ok := r.above[key]; ok {
		return value, nil
	}
	return r.below[key], nil
}

func (r memoryRecords) List(prefix string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for key, value := range r.merged() {
		if strings.HasPrefix(key, prefix) {
			all[key] = value
		}
	}
	return all, nil
}

func (r memoryRecords) merged() map[string][]byte {
	all := maps.Clone(r.below)
	for key, value := range r.above {
		if value == nil {
			delete(all, key)
			continue
		}
		all[key] = value
	}
	return all
}

type memoryTx[S any] struct {
	memoryRecords
	*memory[S]
	shown   uint64
	touched map[uint64]bool
	remade  bool
}

func (t *memoryTx[S]) Put(key string, value []byte) error {
	t.above[key] = bytes.Clone(value)
	return nil
}

// important reports whether the transaction did something else than to move
// checkpoints.
func (t *memoryTx[S]) important() bool {
	for key := range t.above {
		if !strings.HasPrefix(key, "checkpoint/") {
			return true
		}
	}
	return t.remade
}

func (t *memoryTx[S]) Data(generation uint64) (*S, error) {
	value := t.states[generation]
	if value == nil {
		return nil, fmt.Errorf("generation %d: %w", generation, ErrNoGeneration)
	}
	t.touched[generation] = true
	return value, nil
}

func (t *memoryTx[S]) Create(generation uint64) error {
	if t.states[generation] != nil {
		return fmt.Errorf("generation %d is there already", generation)
	}
	value := t.make()
	t.states[generation], t.remade = &value, true
	return nil
}

func (t *memoryTx[S]) Show(generation uint64) error {
	t.shown, t.remade = generation, true
	return nil
}

func (t *memoryTx[S]) Drop(generation uint64) error {
	delete(t.states, generation)
	t.remade = true
	return nil
}
