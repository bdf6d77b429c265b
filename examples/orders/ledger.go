package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// share is what a read model remembers of an order. Of the events that change an
// order none says what the order contributed before; so that it can be taken
// back, the read model keeps it itself.
type share interface {
	// count adds to the read model what the order contributes, or takes it back
	// if sign is -1 instead of 1.
	count(b *bbolt.Bucket, sign int) error
}

const sharePrefix = "order/"

// enter is an order that was placed.
func enter[S share](b *bbolt.Bucket, id string, placed S) error {
	if err := forget[S](b, id); err != nil {
		return err
	}
	if err := put(b, sharePrefix+id, placed); err != nil {
		return err
	}
	return placed.count(b, 1)
}

// change changes what an order contributes. One whose placement was discarded
// has no customer, and no day: what happens to it later counts nowhere.
func change[S share](b *bbolt.Bucket, id string, f func(*S)) error {
	s, ok, err := get[S](b, sharePrefix+id)
	if err != nil || !ok {
		return err
	}
	if err := s.count(b, -1); err != nil {
		return err
	}
	f(&s)
	if err := put(b, sharePrefix+id, s); err != nil {
		return err
	}
	return s.count(b, 1)
}

// forget takes back everything of an order.
func forget[S share](b *bbolt.Bucket, id string) error {
	s, ok, err := get[S](b, sharePrefix+id)
	if err != nil || !ok {
		return err
	}
	if err := s.count(b, -1); err != nil {
		return err
	}
	return b.Delete([]byte(sharePrefix + id))
}

// forgetting is the handler with which a single order can be replayed.
func forgetting[S share]() projection.Handler[*bbolt.Bucket] {
	return projection.Forget(func(_ context.Context, b *bbolt.Bucket, stream eventstore.StreamID) error {
		return forget[S](b, stream.ID)
	})
}

// get returns what is kept under a key, if there is something.
func get[V any](b *bbolt.Bucket, key string) (v V, ok bool, err error) {
	raw := b.Get([]byte(key))
	if raw == nil {
		return v, false, nil
	}
	return v, true, parse(key, raw, &v)
}

// each calls f for what is kept under the keys that begin with prefix, in their
// order, with the rest of the key.
func each[V any](b *bbolt.Bucket, prefix string, f func(rest string, v V) error) error {
	c := b.Cursor()
	for k, raw := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)); k, raw = c.Next() {
		var v V
		if err := parse(string(k), raw, &v); err != nil {
			return err
		}
		if err := f(strings.TrimPrefix(string(k), prefix), v); err != nil {
			return err
		}
	}
	return nil
}

func parse(key string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%q in the read model is damaged: %w", key, err)
	}
	return nil
}

func put(b *bbolt.Bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), raw)
}

// newest calls f for the last values that are kept under keys that begin with prefix,
// the last one first, limit at most.
func newest[V any](b *bbolt.Bucket, prefix string, limit int, f func(V)) error {
	c := b.Cursor()
	before := c.Prev
	if k, _ := c.Seek([]byte(prefix + "\xff")); k == nil { // no key is after those
		before = c.Last
	}
	for k, raw := before(); limit > 0 && bytes.HasPrefix(k, []byte(prefix)); k, raw = c.Prev() {
		var v V
		if err := parse(string(k), raw, &v); err != nil {
			return err
		}
		f(v)
		limit--
	}
	return nil
}
