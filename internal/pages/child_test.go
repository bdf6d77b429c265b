package pages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// useAll reads all of a database, and writes 50 keys and deletes others. It
// returns what bbolt panicked of, and what its own check says then.
func useAll(path string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		return err
	}
	for i := range 5 {
		if err := errors.Join(db.View(readAll), db.Update(func(tx *bbolt.Tx) error { return writeSome(tx, i) })); err != nil {
			return err
		}
	}
	err = db.View(func(tx *bbolt.Tx) (err error) {
		for e := range tx.Check() {
			if !strings.HasSuffix(e.Error(), "unreachable unfreed") { // it is only lost
				err = errors.Join(err, e)
			}
		}
		return err
	})
	return errors.Join(err, db.Close())
}

func readAll(tx *bbolt.Tx) error {
	var sum uint32 // all bytes are read
	var read func(b *bbolt.Bucket) error
	read = func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return read(b.Bucket(k))
			}
			sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, k), crc32.IEEETable, v)
			return nil
		})
	}
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return read(b) })
}

// writeSome writes 10 keys to each bucket, and deletes each second one.
func writeSome(tx *bbolt.Tx, n int) error {
	var write func(b *bbolt.Bucket) error
	write = func(b *bbolt.Bucket) error {
		err := b.ForEachBucket(func(k []byte) error { return write(b.Bucket(k)) })
		for i, k := range keysOf(b) {
			if i%2 == n%2 {
				err = errors.Join(err, b.Delete(k))
			}
		}
		for i := range 10 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "%d written %d", i, n), make([]byte, 300*i)))
		}
		return err
	}
	if _, err := tx.CreateBucketIfNotExists([]byte("written")); err != nil {
		return err
	}
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return write(b) })
}

// structure returns where an image has bytes that are not values or free.
func (b image) structure() (places []int) {
	m := b.meta()
	size := int(m.PageSize)
	add := func(from, n int) {
		for i := range n {
			places = append(places, from+i)
		}
	}
	add(0, headerSize+metaSize)
	add(size, headerSize+metaSize)
	var walk func(id uint64)
	walk = func(id uint64) {
		p := b.page(id)
		at := int(id) * size
		add(at, headerSize+elementSize*int(p.count))
		at += headerSize + elementSize*int(p.count)
		for _, e := range p.all() {
			add(at, len(e.key))
			at += len(e.key)
			switch {
			case p.flags == branchFlag:
				walk(e.child)
				continue
			case e.flags == bucketFlag && len(e.value) == bucketSize:
				walk(native.Uint64(e.value))
				fallthrough
			case e.flags == bucketFlag: // an inline one's values are few
				add(at, len(e.value))
			}
			at += len(e.value)
		}
	}
	walk(m.Root)
	if m.Freelist != notSynced {
		p := b.page(m.Freelist)
		add(int(p.id)*size, headerSize+8*int(p.count))
	}
	return places
}

const childEnv = "HEADWATER_PAGES_CHILD"

// victim is a file that is to be damaged, and where it is worth it.
type victim struct {
	older, image image
	places       []int
}

func victims(t *testing.T, rng *rand.Rand) (all []victim) {
	for _, opts := range []bbolt.Options{{PageSize: 1024}, {PageSize: 1024, NoFreelistSync: true}, {PageSize: 4096}} {
		put := puts(rng)
		path := build(t, opts, put("a", 150, 2000), put("b/c", 20, 1000), put("d", 2, 100), deletes("a", 2))
		older := load(t, path)
		opts.NoSync = true
		db, err := bbolt.Open(path, 0o600, &opts)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(db.Update(replaces("a", 5, 300)), db.Update(deletes("a", 3)), db.Update(put("b/c", 50, 1000)), db.Close())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, victim{older, load(t, path), nil})
	}
	all = append(all, victim{image: tall(t, bbolt.Options{})})
	for i := range all {
		all[i].places = all[i].image.structure()
	}
	return all
}

// damaged returns a damaged image and what was done to it: mostly a flipped bit,
// else a number in place of another, or pages as they were some transactions ago.
func (v victim) damaged(rng *rand.Rand) (b image, what string) {
	b = bytes.Clone(v.image)
	m := b.meta()
	at := v.places[rng.IntN(len(v.places))]
	if rng.IntN(4) == 0 {
		at = v.places[rng.IntN(2*(headerSize+metaSize))] // of the meta pages
	}
	switch n := rng.IntN(8); {
	case n < 5:
		bit := rng.IntN(8)
		b[at] ^= 1 << bit
		what = fmt.Sprintf("byte %d bit %d", at, bit)
	case n < 7 || v.older == nil:
		at = at / 8 * 8
		number := rng.Uint64N(m.HighWater + 2)
		native.PutUint64(b[at:], number)
		what = fmt.Sprintf("byte %d number %d", at, number)
	default:
		for range 1 + rng.IntN(3) {
			page := rng.IntN(int(min(m.HighWater, v.older.meta().HighWater)))
			from, to := page*int(m.PageSize), (page+1)*int(m.PageSize)
			copy(b[from:to], v.older[from:to])
			what += fmt.Sprintf("page %d old ", page)
		}
	}
	if rng.IntN(2) == 0 {
		sign(b[headerSize:])
		sign(b[m.PageSize+headerSize:])
		what += " signed"
	}
	return b, what
}

// What passes is what bbolt can work on: no damage ends the process, nor does
// bbolt panic, or find a fault itself.
func TestDamageThatPasses(t *testing.T) {
	t.Parallel()
	rng := pagesRand(t)
	all := victims(t, rng)
	dir, tries, passed := t.TempDir(), rounds(800, 10_000), 0
	for i := range tries {
		which := rng.IntN(len(all))
		b, what := all[which].damaged(rng)
		if b.check() != nil {
			continue
		}
		passed++
		name := fmt.Sprintf("%d victim %d %s", i, which, what)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d damaged files pass", passed, tries)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPagesChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	if n := bytes.Count(out, []byte("bbolt used ")); err != nil || n != passed {
		t.Errorf("bbolt used %d of %d files, %v:\n%s", n, passed, err, out[max(0, len(out)-10_000):])
	}
}

// TestPagesChild is a process that may die.
func TestPagesChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		t.Skip("a part of TestDamageThatPasses")
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		fmt.Printf("using %s\n", f.Name()) // the last one, if this process dies
		if err := useAll(filepath.Join(dir, f.Name())); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
		fmt.Printf("bbolt used %s\n", f.Name())
	}
}

func FuzzCheckPages(f *testing.F) {
	fill := func(tx *bbolt.Tx) error {
		_, err := bucketAt(tx, "a/b")
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, noSync := range []bool{false, true} {
		opts := bbolt.Options{PageSize: 1024, NoFreelistSync: noSync}
		for _, txs := range [][]func(*bbolt.Tx) error{{}, {fill}, {fill, puts(rng)("a", 20, 10), puts(rng)("c", 3, 10)}} {
			b := load(f, build(f, opts, txs...))
			f.Add([]byte(b[:b.meta().HighWater*1024]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = image(b).check()
		for at := 0; at < 2048 && len(b) >= at+headerSize+metaSize; at += 1024 {
			sign(b[at+headerSize:])
		}
		if image(b).check() != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "pages")
		if err := errors.Join(os.WriteFile(path, b, 0o600), useAll(path)); err != nil {
			t.Error(err)
		}
	})
}
