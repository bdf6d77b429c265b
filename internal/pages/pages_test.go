package pages

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// pagesRand returns a source of random numbers that can be had again.
func pagesRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// build returns the path of a database that was made in some transactions.
func build(t testing.TB, opts bbolt.Options, txs ...func(*bbolt.Tx) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pages")
	opts.NoSync = true
	db, err := bbolt.Open(path, 0o600, &opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range txs {
		if err := db.Update(tx); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// rounds returns how many times to do a thing, of which the second is for long.
func rounds(few, many int) int {
	if os.Getenv("HEADWATER_SOAK") != "" {
		return many
	}
	return few
}

// mustBeSound checks a file.
func mustBeSound(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(f, info.Size()); err != nil {
		t.Errorf("a sound file is refused: %v", err)
	}
}

type put func(name string, keys, most int) func(*bbolt.Tx) error

// puts returns what puts random values of random keys into a bucket.
func puts(rng *rand.Rand) put {
	return func(name string, keys, most int) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b, err := bucketAt(tx, name)
			if err != nil {
				return err
			}
			for range keys {
				size := rng.IntN(most/50 + 1)
				if rng.IntN(100) == 0 {
					size = rng.IntN(most + 1)
				}
				key := fmt.Appendf(nil, "%0*d", 1+rng.IntN(40), rng.Uint32())
				if err := b.Put(key, make([]byte, size)); err != nil {
					return err
				}
			}
			return nil
		}
	}
}

// bucketAt returns the bucket of a name like a/b, which it makes.
func bucketAt(tx *bbolt.Tx, name string) (b *bbolt.Bucket, err error) {
	create := tx.CreateBucketIfNotExists
	for part := range strings.SplitSeq(name, "/") {
		if b, err = create([]byte(part)); err != nil {
			return nil, err
		}
		create = b.CreateBucketIfNotExists
	}
	return b, nil
}

// deletes deletes one of so many keys of a bucket.
func deletes(name string, each int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := bucketAt(tx, name)
		if err != nil {
			return err
		}
		for i, k := range keysOf(b) {
			if i%each == 0 {
				err = errors.Join(err, b.Delete(k))
			}
		}
		return err
	}
}

// replaces deletes and puts one of so many keys of a bucket, as a store does.
func replaces(name string, each, size int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := bucketAt(tx, name)
		if err != nil {
			return err
		}
		for i, k := range keysOf(b) {
			if i%each == 0 {
				err = errors.Join(err, b.Delete(k), b.Put(k, make([]byte, size)))
			}
		}
		return err
	}
}

// keysOf returns the keys of a bucket that are no buckets.
func keysOf(b *bbolt.Bucket) (keys [][]byte) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if v != nil {
			keys = append(keys, bytes.Clone(k))
		}
	}
	return keys
}

func TestSoundPages(t *testing.T) {
	t.Parallel()
	type txs []func(*bbolt.Tx) error
	histories := map[string]func(put) txs{
		"empty":         func(put) txs { return nil },
		"one key":       func(put put) txs { return txs{put("a", 1, 10)} },
		"empty bucket":  func(put put) txs { return txs{put("a", 0, 10)} },
		"one big value": func(put put) txs { return txs{put("a", 1, 1<<20), put("a", 200, 1<<20)} },
		"many keys":     func(put put) txs { return txs{put("a", 10_000, 20_000), put("a", 10_000, 20_000)} },
		"deleted":       func(put put) txs { return txs{put("a", 3000, 2000), deletes("a", 2), deletes("a", 3), put("a", 9, 99)} },
		"all deleted":   func(put put) txs { return txs{put("a", 3000, 2000), deletes("a", 1)} },
		"buckets": func(put put) txs {
			return txs{
				put("a", 2, 10), put("a/b", 500, 100), put("a/c", 3, 10), put("a/c/d", 0, 10),
				put("b/c/d/e/f/g/h/i/j/k", 2, 10), put("b/c", 500, 100), put("c", 2, 10), deletes("a/b", 1),
			}
		},
	}
	for name, history := range histories {
		for _, size := range []int{1024, 4096, 16384} {
			for _, noSync := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%t", name, size, noSync), func(t *testing.T) {
					t.Parallel()
					opts := bbolt.Options{PageSize: size, NoFreelistSync: noSync, FreelistType: bbolt.FreelistMapType}
					path := build(t, opts, history(puts(pagesRand(t)))...)
					mustBeSound(t, path)
					mustBeSound(t, compacted(t, path, opts))
				})
			}
		}
	}
}

func compacted(t *testing.T, path string, opts bbolt.Options) string {
	t.Helper()
	smaller := build(t, opts)
	opts.NoSync = true
	from, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	to, err := bbolt.Open(smaller, 0o600, &opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bbolt.Compact(to, from, 1<<16), to.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
	return smaller
}

// A file stays sound through whatever is done with it.
func TestSoundPagesForLong(t *testing.T) {
	t.Parallel()
	rng := pagesRand(t)
	path := build(t, bbolt.Options{PageSize: 1024})
	names := []string{"a", "b", "b/c", "b/d", "e/f/g"}
	for range rounds(60, 2000) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: rng.IntN(4) == 0})
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(10) {
			name := names[rng.IntN(len(names))]
			do := []func(*bbolt.Tx) error{
				puts(rng)(name, rng.IntN(200), 3000),
				deletes(name, 1+rng.IntN(3)),
				replaces(name, 1+rng.IntN(20), rng.IntN(500)),
			}[rng.IntN(3)]
			if err := db.Update(do); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		mustBeSound(t, path)
	}
}

// A freelist with more pages than its header can count.
func TestSoundPagesManyFree(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes 70 MB")
	}
	path := build(t, bbolt.Options{PageSize: 1024}, func(tx *bbolt.Tx) error {
		b, err := bucketAt(tx, "a")
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), make([]byte, 70<<20))
	}, deletes("a", 1))
	mustBeSound(t, path)
	b := load(t, path)
	free := b.page(b.meta().Freelist)
	if free.count != 0xffff {
		t.Fatalf("it has %d free pages", free.count)
	}
	native.PutUint64(free.data[headerSize:], uint64(len(free.data)/8-3))
	mustReport(t, b, "the freelist has page 0 ")
	native.PutUint64(free.data[headerSize:], uint64(len(free.data)/8-2))
	mustReport(t, b, "ids")
}
