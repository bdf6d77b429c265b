package pages

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// image is a bbolt file in memory.
type image []byte

func load(t testing.TB, path string) image {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b image) check() error { return Check(bytes.NewReader(b), int64(len(b))) }

func (b image) meta() pageMeta {
	m, err := findMeta(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		panic(err)
	}
	return m
}

// page returns a page whose data are those of the image.
func (b image) page(id uint64) boltPage {
	size := uint64(b.meta().PageSize)
	p := parsePage(b[id*size:])
	p.data = p.data[:size*(1+uint64(p.overflow))]
	return p
}

// all returns the elements of a page.
func (p boltPage) all() []element {
	all, err := p.elements(nil, nil)
	if err != nil {
		panic(err)
	}
	return all
}

// head returns the bytes of an element before its data.
func (p boltPage) head(i int) []byte { return p.data[headerSize+elementSize*i:][:elementSize] }

// value returns that of a bucket in the root bucket.
func (b image) value(name string) []byte {
	for _, e := range b.page(b.meta().Root).all() {
		if string(e.key) == name {
			return e.value
		}
	}
	panic("no bucket " + name)
}

// path returns the first pages of a bucket, from its root to a leaf.
func (b image) path(name string) []boltPage {
	pages := []boltPage{b.page(native.Uint64(b.value(name)))}
	for {
		last := pages[len(pages)-1]
		if last.flags != branchFlag {
			return pages
		}
		pages = append(pages, b.page(last.all()[0].child))
	}
}

// setMeta changes the meta page that counts, and makes it valid again.
func (b image) setMeta(field int, v uint64) {
	m := b.meta()
	for at := range uint64(2) {
		raw := b[at*uint64(m.PageSize)+headerSize:][:metaSize]
		if native.Uint64(raw[48:]) == m.Tx {
			native.PutUint64(raw[field:], v)
			sign(raw)
		}
	}
}

// setRaw changes 4 bytes of one of the meta pages, and makes it valid again.
func (b image) setRaw(page, field int, v uint32) {
	raw := b[page*int(b.meta().PageSize)+headerSize:][:metaSize]
	native.PutUint32(raw[field:], v)
	sign(raw)
}

func sign(meta []byte) {
	sum := fnv.New64a()
	sum.Write(meta[:metaSize-8])
	native.PutUint64(meta[metaSize-8:], sum.Sum64())
}

func mustReport(t *testing.T, b image, want string) {
	t.Helper()
	if err := b.check(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("reported is %v, want %q", err, want)
	}
}

// tall returns a file of small pages with a tree of three levels in "tall",
// buckets in "wide", an inline bucket "in" and a freelist.
func tall(t testing.TB, opts bbolt.Options) image {
	t.Helper()
	opts.PageSize = 1024
	fill := func(name string, n, key, value int) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b, err := bucketAt(tx, name)
			for i := range n {
				err = errors.Join(err, b.Put(fmt.Appendf(nil, "%0*d", key, 2*i), make([]byte, value)))
			}
			return err
		}
	}
	return load(t, build(t, opts, fill("tall", 60, 100, 30), fill("wide/a", 60, 10, 30), fill("wide/b", 60, 10, 30),
		fill("wide/in", 3, 10, 3), fill("in", 5, 10, 3), fill("short", 60, 10, 3), fill("gone", 300, 10, 30), deletes("gone", 1)))
}
