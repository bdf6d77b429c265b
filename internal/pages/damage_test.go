package pages

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

const uint64Max = 1<<64 - 1

func TestDamagedPages(t *testing.T) {
	t.Parallel()
	sound := tall(t, bbolt.Options{})
	if err := sound.check(); err != nil {
		t.Fatal(err)
	}
	type pages = []boltPage // from the root of "tall" to its first leaf
	swap := func(all []element) {
		first := string(all[1].key)
		copy(all[1].key, all[2].key)
		copy(all[2].key, first)
	}
	child := func(p boltPage, i int, id uint64) { native.PutUint64(p.head(i)[8:], id) }
	for _, damage := range []struct {
		name string
		do   func(b image, p pages)
		want string
	}{
		{"child is itself", func(_ image, p pages) { child(p[0], 0, p[0].id) }, "used twice"},
		{"child is its parent", func(_ image, p pages) { child(p[1], 0, p[0].id) }, "used twice"},
		{"child of a later element is its parent", func(_ image, p pages) { child(p[1], 1, p[1].id) }, "used twice"},
		{"child is the root of all", func(b image, p pages) { child(p[1], 0, b.meta().Root) }, "used twice"},
		{"child twice", func(_ image, p pages) { child(p[1], 1, p[1].all()[0].child) }, "used twice"},
		{"child of another branch", func(b image, p pages) { child(p[1], 0, b.page(p[0].all()[1].child).all()[0].child) }, "out of order"},
		{"child is a meta page", func(_ image, p pages) { child(p[1], 0, 1) }, "page 1: there are pages 2 to"},
		{"child is page 0", func(_ image, p pages) { child(p[1], 0, 0) }, "page 0: there are pages 2 to"},
		{"child beyond the last", func(b image, p pages) { child(p[1], 0, b.meta().HighWater) }, "there are pages 2 to"},
		{"child far beyond", func(_ image, p pages) { child(p[1], 0, uint64Max) }, "there are pages 2 to"},
		{"child is the freelist", func(b image, p pages) { child(p[1], 0, b.meta().Freelist) }, "flags 0x10"},
		{"branch is empty", func(_ image, p pages) { native.PutUint16(p[1].data[10:], 0) }, "0 elements"},
		{"root branch is empty", func(_ image, p pages) { native.PutUint16(p[0].data[10:], 0) }, "0 elements"},
		{"leaf is empty", func(_ image, p pages) { native.PutUint16(p[2].data[10:], 0) }, "0 elements"},
		{"too many elements", func(_ image, p pages) { native.PutUint16(p[2].data[10:], 0xffff) }, "no room for 65535 elements"},
		{"one more element", func(_ image, p pages) { native.PutUint16(p[2].data[10:], p[2].count+1) }, "element 0 is at"},
		{"one less element", func(_ image, p pages) { native.PutUint16(p[2].data[10:], p[2].count-1) }, "element 0 is at"},
		{"other page's id", func(_ image, p pages) { native.PutUint64(p[2].data, p[2].id+1) }, "it says it is page"},
		{"no flags", func(_ image, p pages) { native.PutUint16(p[2].data[8:], 0) }, "flags 0x0"},
		{"both flags", func(_ image, p pages) { native.PutUint16(p[2].data[8:], branchFlag|leafFlag) }, "flags 0x3"},
		{"leaf as branch", func(_ image, p pages) { native.PutUint16(p[2].data[8:], branchFlag) }, "element 0 is at"},
		{"branch as leaf", func(_ image, p pages) { native.PutUint16(p[1].data[8:], leafFlag) }, "element 0 is at"},
		{"goes on for ever", func(_ image, p pages) { native.PutUint32(p[2].data[12:], 1<<32-1) }, "ends before"},
		{"goes on in another's page", func(_ image, p pages) { native.PutUint32(p[2].data[12:], 2) }, "used twice"},
		{"position beyond", func(_ image, p pages) { native.PutUint32(p[2].head(1)[4:], 1<<32-1) }, "element 1 is at"},
		{"position moved", func(_ image, p pages) { p[2].head(1)[4]++ }, "element 1 is at"},
		{"position in the header", func(_ image, p pages) { native.PutUint32(p[1].head(1), 0) }, "element 1 is at"},
		{"no key", func(_ image, p pages) { native.PutUint32(p[2].head(0)[8:], 0) }, "element 0 is at"},
		{"key too long", func(_ image, p pages) { native.PutUint32(p[2].head(0)[8:], 1<<32-1) }, "element 0 is at"},
		{"branch key too long", func(_ image, p pages) { native.PutUint32(p[1].head(0)[4:], 1<<32-1) }, "element 0 is at"},
		{"value too long", func(_ image, p pages) { native.PutUint32(p[2].head(0)[12:], 1<<32-1) }, "element 0 is at"},
		{"value longer", func(_ image, p pages) { p[2].head(0)[12]++ }, "element 1 is at"},
		{"last value too long", func(_ image, p pages) { native.PutUint32(p[2].head(int(p[2].count) - 1)[12:], 1024) }, "bytes"},
		{"keys descend", func(_ image, p pages) { swap(p[2].all()) }, "key 2, "},
		{"keys are equal", func(_ image, p pages) { copy(p[2].all()[1].key, p[2].all()[0].key) }, "key 1, "},
		{"branch keys descend", func(_ image, p pages) { swap(p[1].all()) }, "key 2, "},
		{"first key after its branch's", func(_ image, p pages) { p[1].all()[0].key[99]-- }, "key 0, "},
		{"branch's first key after its branch's", func(_ image, p pages) { p[0].all()[1].key[99]-- }, "key 0, "},
		{"key from before its branch", func(_ image, p pages) { p[2].all()[0].key[0] = '!' }, "key 0, "},
		{"branch key from before its branch", func(_ image, p pages) { p[1].all()[0].key[0] = '!' }, "key 0, "},
		{"key of the next branch", func(_ image, p pages) { p[2].all()[p[2].count-1].key[0] = '1' }, "out of order"},
		{"first key of the next page", func(_ image, p pages) { copy(p[2].all()[p[2].count-1].key, p[1].all()[1].key) }, "out of order"},
		{"branch key of the next branch", func(_ image, p pages) { p[1].all()[p[1].count-1].key[0] = '1' }, "out of order"},
		{"unknown flag", func(_ image, p pages) { native.PutUint32(p[2].head(0), 2) }, "no bucket"},
		{"value as bucket", func(_ image, p pages) { native.PutUint32(p[2].head(0), 1) }, "no bucket"},

		{"bucket as value", func(b image, _ pages) { native.PutUint32(b.page(b.meta().Root).head(0), 0) }, "no bucket"},
		{"last bucket as value", func(b image, _ pages) {
			p := b.page(b.meta().Root)
			native.PutUint32(p.head(int(p.count)-1), 0)
		}, "no bucket"},
		{"short value as bucket", func(b image, _ pages) { native.PutUint32(b.path("short")[1].head(0), 1) }, "no bucket"},
		{"bucket is the root", func(b image, _ pages) { native.PutUint64(b.value("wide"), b.meta().Root) }, "used twice"},
		{"bucket twice", func(b image, p pages) { native.PutUint64(b.value("wide"), p[0].id) }, "used twice"},
		{"bucket within another", func(b image, p pages) { native.PutUint64(b.value("wide"), p[2].id) }, "used twice"},
		{"bucket without root", func(b image, _ pages) { native.PutUint64(b.value("wide"), 0) }, "no bucket"},
		{"bucket beyond the last", func(b image, _ pages) { native.PutUint64(b.value("wide"), b.meta().HighWater) }, "there are pages"},
		{"inline bucket with a root", func(b image, p pages) { native.PutUint64(b.value("in"), p[2].id) }, "no bucket"},
		{"inline page with an id", func(b image, p pages) { native.PutUint64(b.value("in")[16:], p[2].id) }, "no bucket"},
		{"inline branch", func(b image, _ pages) { native.PutUint16(b.value("in")[24:], branchFlag) }, "no bucket"},
		{"inline page too full", func(b image, _ pages) { native.PutUint16(b.value("in")[26:], 1000) }, "no bucket"},
		{"inline page that goes on", func(b image, _ pages) { native.PutUint32(b.value("in")[28:], 1) }, "no bucket"},
		{"inline position", func(b image, _ pages) { native.PutUint32(b.value("in")[36:], 1<<31) }, "no bucket"},
		{"bucket in an inline one", func(b image, _ pages) { native.PutUint32(b.value("in")[32:], bucketFlag) }, "no bucket"},

		{"free page 1", func(b image, _ pages) { b.setFree(0, 1) }, "the freelist has page 1 "},
		{"free page beyond the last", func(b image, _ pages) { b.setFree(-1, b.meta().HighWater) }, "the freelist has page"},
		{"free page far beyond", func(b image, _ pages) { b.setFree(-1, uint64Max) }, "the freelist has page"},
		{"free page twice", func(b image, _ pages) { b.setFree(1, native.Uint64(b.page(b.meta().Freelist).data[headerSize:])) }, "the freelist has page"},
		{"free pages descend", func(b image, _ pages) { b.setFree(0, native.Uint64(b.page(b.meta().Freelist).data[headerSize+16:])) }, "the freelist has page"},
		{"free leaf", func(b image, p pages) { b.setFreeAll(p[2].id) }, "or it is used"},
		{"free root", func(b image, _ pages) { b.setFreeAll(b.meta().Root) }, "or it is used"},
		{"free freelist", func(b image, _ pages) { b.setFreeAll(b.meta().Freelist) }, "or it is used"},
		{"freelist too long", func(b image, _ pages) { native.PutUint16(b.page(b.meta().Freelist).data[10:], 0xfffe) }, "65534 ids"},
		{"freelist far too long", func(b image, _ pages) {
			p := b.page(b.meta().Freelist)
			native.PutUint16(p.data[10:], 0xffff)
			native.PutUint64(p.data[headerSize:], uint64Max)
		}, "ids"},
		{"freelist as leaf", func(b image, _ pages) { native.PutUint16(b.page(b.meta().Freelist).data[8:], leafFlag) }, "flags 0x2"},
		{"freelist of another id", func(b image, _ pages) { b.page(b.meta().Freelist).data[0]++ }, "it says it is page"},
		{"freelist goes on for ever", func(b image, _ pages) { native.PutUint32(b.page(b.meta().Freelist).data[12:], 1<<32-1) }, "ends before"},
		{"freelist is a leaf", func(b image, p pages) { b.setMeta(32, p[2].id) }, "used twice"},
		{"freelist is page 0", func(b image, _ pages) { b.setMeta(32, 0) }, "there are pages"},
		{"freelist beyond the last", func(b image, _ pages) { b.setMeta(32, b.meta().HighWater) }, "there are pages"},

		{"no root", func(b image, _ pages) { b.setMeta(16, 0) }, "page 0: there are pages"},
		{"root beyond the last", func(b image, _ pages) { b.setMeta(16, b.meta().HighWater) }, "there are pages"},
		{"root of another bucket", func(b image, p pages) { b.setMeta(16, p[0].id) }, "no bucket"},
		{"fewer pages", func(b image, _ pages) { b.setMeta(40, 9) }, "there are pages 2 to 8"},
		{"no pages", func(b image, _ pages) { b.setMeta(40, 0) }, "there are pages 2 to -1"},
		{"more pages than bytes", func(b image, _ pages) { b.setMeta(40, uint64(len(b)/1024+1)) }, "the file has"},
		{"far more pages", func(b image, _ pages) { b.setMeta(40, uint64Max) }, "the file has"},
		{"last transaction", func(b image, _ pages) { b.setMeta(48, uint64Max) }, "transaction 18446744073709551615"},
		{"page size 0", func(b image, _ pages) { b.setMeta(8, 0) }, "pages of 0 bytes"},
		{"page size 2048", func(b image, _ pages) { b.setRaw(0, 8, 2048) }, "pages"},
		{"page size 2048 in meta page 1", func(b image, _ pages) { b.setRaw(1, 8, 2048) }, "page at 1024 is for pages of 2048 bytes"},
		{"page size 2048 in meta page 1 alone", func(b image, _ pages) { b[16]++; b.setRaw(1, 8, 2048) }, "page at 1024 is for pages of 2048 bytes"},
		{"page size 2^25", func(b image, _ pages) { b.setRaw(0, 8, 1<<25) }, "pages of 33554432 bytes"},
		{"page size 1025", func(b image, _ pages) { b.setMeta(8, 1025) }, "pages of 1025 bytes"},
		{"no meta pages", func(b image, _ pages) { b[16]++; b[1024+16]++ }, "no meta page is valid"},
		{"no checksums", func(b image, _ pages) { b[16+56]++; b[1024+16+56]++ }, "no meta page is valid"},
		{"other magic", func(b image, _ pages) { b.setRaw(0, 0, 1); b.setRaw(1, 0, 1) }, "no meta page is valid"},
		{"other versions", func(b image, _ pages) { b.setRaw(0, 4, 3); b.setRaw(1, 4, 3) }, "no meta page is valid"},
		{"zeros", func(b image, _ pages) { clear(b) }, "no meta page is valid"},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			b := bytes.Clone(sound)
			damage.do(b, image(b).path("tall"))
			mustReport(t, b, damage.want)
		})
	}
}

// setFree sets one of the ids in the freelist, or the last for -1.
func (b image) setFree(i int, id uint64) {
	p := b.page(b.meta().Freelist)
	if i < 0 {
		i += int(p.count)
	}
	native.PutUint64(p.data[headerSize+8*i:], id)
}

// setFreeAll makes the freelist one of one page.
func (b image) setFreeAll(id uint64) {
	native.PutUint16(b.page(b.meta().Freelist).data[10:], 1)
	b.setFree(0, id)
}

func TestCutPages(t *testing.T) {
	t.Parallel()
	b := tall(t, bbolt.Options{})
	needed := int(b.meta().HighWater) * 1024
	for size := 0; size <= len(b); size += 128 {
		if err := b[:size].check(); (err == nil) != (size >= needed) {
			t.Errorf("cut to %d bytes of %d needed: %v", size, needed, err)
		}
	}
}

func TestPagesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := tall(t, bbolt.Options{})
	for at := range len(b) / 1024 {
		f := &failing{bytes.NewReader(b), int64(at) * 1024}
		if err := Check(f, int64(len(b))); f.at < 0 && !errors.Is(err, os.ErrPermission) {
			t.Errorf("page %d cannot be read: %v", at, err)
		}
	}
}

// failing cannot be read at one place, and then sets that to -1.
type failing struct {
	io.ReaderAt
	at int64
}

func (f *failing) ReadAt(b []byte, at int64) (int, error) {
	if at <= f.at && f.at < at+int64(len(b)) {
		f.at = -1
	}
	if f.at < 0 {
		return 0, os.ErrPermission
	}
	return f.ReaderAt.ReadAt(b, at)
}

// Either meta page is enough.
func TestOneMetaPage(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1024, 4096, 16384, 65536} {
		path := build(t, bbolt.Options{PageSize: size}, puts(pagesRand(t))("a", 100, 2000), deletes("a", 2))
		for at := range 2 {
			b := load(t, path)
			b[at*size+headerSize+40] ^= 1
			if err := b.check(); err != nil {
				t.Errorf("without meta page %d of %d bytes: %v", at, size, err)
			}
			path := filepath.Join(t.TempDir(), "pages")
			if err := errors.Join(os.WriteFile(path, b, 0o600), useAll(path)); err != nil {
				t.Errorf("bbolt without meta page %d of %d bytes: %v", at, size, err)
			}
		}
	}
}

// Of two valid meta pages the later counts, and the first if they are of one
// transaction.
func TestMetaPageThatCounts(t *testing.T) {
	t.Parallel()
	sound := tall(t, bbolt.Options{})
	good := bytes.Clone(sound[int(sound.meta().Tx%2)*1024+headerSize:][:metaSize])
	for _, tx := range [][2]uint32{{8, 9}, {9, 8}, {9, 9}} {
		for page := range 2 {
			b := bytes.Clone(sound)
			for i := range 2 {
				copy(b[i*1024+headerSize:], good)
				image(b).setRaw(i, 48, tx[i])
			}
			if err := image(b).check(); err != nil {
				t.Fatal(err)
			}
			image(b).setRaw(page, 16, 0) // the root
			counts := page == 0 && tx[0] >= tx[1] || page == 1 && tx[1] > tx[0]
			if err := image(b).check(); (err != nil) != counts {
				t.Errorf("transactions %d, without root in page %d: %v", tx, page, err)
			}
		}
	}
}

// A meta page that is neither the first nor the second is none.
func TestMetaPageElsewhere(t *testing.T) {
	t.Parallel()
	b := append(tall(t, bbolt.Options{}), make([]byte, 1<<20)...)
	at := 1 << 19
	copy(b[at:], b[:headerSize+metaSize])
	raw := b[at+headerSize:][:metaSize]
	native.PutUint32(raw[8:], uint32(at))
	native.PutUint32(raw[48:], 1000)
	sign(raw)
	if err := b.check(); err != nil {
		t.Error(err)
	}
}

func TestNestedPages(t *testing.T) {
	t.Parallel()
	for depth, sound := range map[int]bool{maxDepth: true, maxDepth + 2: false} {
		name := strings.Repeat("a/", depth-1) + "a"
		b := load(t, build(t, bbolt.Options{}, puts(pagesRand(t))(name, 1, 10)))
		if err := b.check(); (err == nil) != sound {
			t.Errorf("%d buckets in each other: %v", depth, err)
		}
	}
}
