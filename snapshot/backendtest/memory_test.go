package backendtest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/headwater-go/headwater/snapshot"
)

// memory is a backend that does what one does, unless it has a fault.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	fault  string
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[m.key(key)]
	switch {
	case !ok && m.fault == "empty for nothing":
		return []byte{}, nil
	case m.fault == "shares what it has":
		return v, nil
	}
	return slices.Clone(v), nil
}

func (m *memory) key(key string) string {
	switch {
	case m.fault == "cuts keys":
		return key[:min(len(key), 64)]
	case m.fault == "cuts numbers":
		return key[:min(len(key), 7)]
	}
	return key
}

func (m *memory) Put(_ context.Context, values map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, value := range values {
		_, there := m.values[m.key(key)]
		switch {
		case value == nil && m.fault == "removes nothing":
		case value == nil:
			delete(m.values, m.key(key))
		case there && m.fault == "keeps the first":
		case m.fault == "cuts values":
			m.values[m.key(key)] = slices.Clone(value[:min(len(value), 1<<20)])
		case m.fault == "keeps what was put":
			m.values[m.key(key)] = value
		case m.fault == "tears":
			m.values[key] = slices.Clone(value)
			m.values[key][len(value)-1]++
		default:
			m.values[m.key(key)] = slices.Clone(value)
		}
	}
	return nil
}

func (m *memory) All(ctx context.Context) iter.Seq2[snapshot.Entry, error] {
	return func(yield func(snapshot.Entry, error) bool) {
		m.mu.Lock()
		all := maps.Clone(m.values)
		m.mu.Unlock()
		n := 0
		for key, value := range all {
			if ctx.Err() != nil && m.fault != "lists for ever" {
				yield(snapshot.Entry{}, ctx.Err())
				return
			}
			if n++; m.fault == "lists a page" && n > 1000 {
				return
			}
			if !yield(snapshot.Entry{Key: key, Value: slices.Clone(value)}, nil) && m.fault != "lists on" {
				return
			}
			if m.fault == "lists twice" {
				yield(snapshot.Entry{Key: key, Value: slices.Clone(value)}, nil)
			}
		}
	}
}

func (m *memory) Close() error { return nil }
