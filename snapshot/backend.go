package snapshot

import (
	"context"
	"iter"
)

// Backend is where a [Store] keeps its snapshots, for those who bring another
// one than a file. It keeps values under keys, both of any bytes, and may lose or
// damage them: the store checks what comes back. Package
// snapshot/backendtest tests the rest.
//
// Get and All are called from several goroutines, also while Put is under way;
// Put by one at a time.
type Backend interface {
	// Get returns the value that was put last under a key, nil if there is
	// none. The caller may keep and change it.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores values under their keys, in place of what is there, and
	// removes what is under a key with a nil value. After an error any of them
	// may be stored.
	Put(ctx context.Context, values map[string][]byte) error
	// All yields what is there, each key once, in any order. An error is
	// yielded last. What is put or removed meanwhile may be yielded or not.
	All(ctx context.Context) iter.Seq2[Entry, error]
	// Close ends the use of the backend.
	Close() error
}

// Entry is what a [Backend] has.
type Entry struct {
	Key   string
	Value []byte
}
