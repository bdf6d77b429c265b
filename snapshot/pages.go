package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
)

// A bbolt file is a row of pages of one size. A page goes on in so many pages
// after it as its overflow says. A branch page has elements of a position (4
// bytes), key size (4) and child (8), a leaf page of flags, position, key size
// and value size (4 each); keys and values follow, and a position is counted
// from its element. A value with the bucket flag is a bucket's root page (8) and
// sequence (8); if the root is 0, a leaf page follows. A freelist page has ids of
// pages (8); if its count is 0xffff, the first of them is the count.
const (
	headerSize, metaSize, elementSize, bucketSize = 16, 64, 16, 16

	branchFlag, leafFlag, freelistFlag = 0x01, 0x02, 0x10 // of a page
	bucketFlag                         = 0x01             // of a leaf's element

	minPageSize, maxPageSize = 1 << 10, 1 << 24 // where bbolt looks for the second meta page
	maxDepth                 = 64               // of pages and buckets in each other: bbolt calls itself for each
	notSynced                = math.MaxUint64   // the freelist's page, if it has none
)

// pageMeta is what the first two pages have after the header.
type pageMeta struct {
	Magic, Version, PageSize, Flags                   uint32
	Root, Sequence, Freelist, HighWater, Tx, Checksum uint64
}

// checkPages reports why a bbolt file is not one that bbolt can work on safely,
// nil if it is.
func checkPages(f io.ReaderAt, size int64) error {
	m, err := findMeta(f, size)
	if err != nil {
		return err
	}
	if has := uint64(size) / uint64(m.PageSize); m.HighWater > has || uint64(size) > math.MaxInt {
		return fmt.Errorf("the file has %d pages of %d", has, m.HighWater)
	}
	c := &pageCheck{pageMeta: m, f: f, met: make([]byte, m.HighWater/8+1)}
	if err := c.visit(m.Root, nil, nil); err != nil {
		return err
	}
	return c.checkFreelist()
}

// findMeta returns the meta page that bbolt will use: the valid one of the last
// transaction. If the first one is not valid, bbolt looks at each page size.
func findMeta(f io.ReaderAt, size int64) (best pageMeta, err error) {
	for at := int64(0); at <= maxPageSize && at+minPageSize < size; at = max(2*at, minPageSize) {
		if best.PageSize > 0 && at != int64(best.PageSize) {
			continue
		}
		b, m, sum := make([]byte, metaSize), pageMeta{}, fnv.New64a()
		if _, err := f.ReadAt(b, at+headerSize); err != nil {
			return best, fmt.Errorf("the meta page at %d: %w", at, err)
		}
		_, _ = binary.Decode(b, native, &m) // it has the size
		_, _ = sum.Write(b[:metaSize-8])
		if m.Magic != 0xed0cdaed || m.Version != 2 || m.Checksum != sum.Sum64() {
			continue
		}
		// After the last transaction bbolt would go back to an old tree, and overwrite it.
		ok := m.PageSize >= minPageSize && m.PageSize <= maxPageSize && m.PageSize&(m.PageSize-1) == 0
		if !ok || at > 0 && at != int64(m.PageSize) || m.Tx > math.MaxInt64 {
			return best, fmt.Errorf("the meta page at %d is for pages of %d bytes, and of transaction %d", at, m.PageSize, m.Tx)
		}
		if best.PageSize == 0 || m.Tx > best.Tx {
			best = m
		}
	}
	if best.PageSize == 0 {
		err = errors.New("no meta page is valid")
	}
	return best, err
}

// pageCheck is a walk over the pages of a file.
type pageCheck struct {
	pageMeta
	f       io.ReaderAt
	met     []byte // a bit a page
	spare   []byte // memory for a page
	depth   int    // of pages
	nesting int    // of buckets
}

// boltPage is a page, with the pages that it goes on in.
type boltPage struct {
	id           uint64
	flags, count uint16
	overflow     uint32
	data         []byte
}

var native = binary.NativeEndian

func parsePage(b []byte) boltPage {
	return boltPage{id: native.Uint64(b), flags: native.Uint16(b[8:]), count: native.Uint16(b[10:]), overflow: native.Uint32(b[12:]), data: b}
}

// meet notes a page, and returns whether that is the first time.
func (c *pageCheck) meet(id uint64) bool {
	before := c.met[id/8]
	c.met[id/8] |= 1 << (id % 8)
	return c.met[id/8] != before
}

// read reads a page that nothing else refers to.
func (c *pageCheck) read(id uint64) (p boltPage, err error) {
	if id < 2 || id >= c.HighWater {
		return p, fmt.Errorf("it is none of %d", c.HighWater)
	}
	header, at := make([]byte, headerSize), int64(id)*int64(c.PageSize)
	if _, err := c.f.ReadAt(header, at); err != nil {
		return p, err
	}
	p = parsePage(header)
	last := id + uint64(p.overflow)
	if p.id != id || last >= c.HighWater {
		return p, fmt.Errorf("it says it is page %d, and goes on to %d, of %d", p.id, last, c.HighWater)
	}
	for i := id; i <= last; i++ {
		if !c.meet(i) {
			return p, fmt.Errorf("page %d is used twice", i)
		}
	}
	size := int(last-id+1) * int(c.PageSize)
	p.data, c.spare = slices.Grow(c.spare[:0], size)[:size], nil
	_, err = c.f.ReadAt(p.data, at)
	return p, err
}

// visit checks a page of a tree, with keys from low and before high, nil for
// any, and the pages that it leads to.
func (c *pageCheck) visit(id uint64, low, high []byte) (err error) {
	c.depth++
	defer func() {
		if c.depth--; err != nil {
			err = fmt.Errorf("page %d: %w", id, err)
		}
	}()
	p, err := c.read(id)
	if err != nil {
		return err
	}
	branch, empty := p.flags == branchFlag, p.count == 0
	if c.depth > maxDepth || !branch && p.flags != leafFlag || empty && (branch || low != nil) {
		return fmt.Errorf("at depth %d it has flags %#x and %d elements", c.depth, p.flags, p.count)
	}
	elements, err := p.elements(low, high)
	for i, e := range elements {
		switch {
		case branch && i+1 < len(elements):
			err = c.visit(e.child, e.key, elements[i+1].key)
		case branch:
			err = c.visit(e.child, e.key, high)
		case e.flags != 0 || c.nesting == 0: // bbolt has only buckets in the root bucket
			err = c.visitBucket(e)
		}
		if err != nil {
			return err
		}
	}
	c.spare = p.data
	return err
}

// visitBucket checks a leaf's element as a bucket.
func (c *pageCheck) visitBucket(e element) error {
	c.nesting++
	defer func() { c.nesting-- }()
	switch size := len(e.value); {
	case e.flags != bucketFlag || size < bucketSize:
	case native.Uint64(e.value) > 0 && size == bucketSize:
		return c.visit(native.Uint64(e.value), nil, nil)
	case native.Uint64(e.value) == 0 && size >= bucketSize+headerSize:
		// bbolt would free the page whose id this one has, and puts no buckets in it.
		p := parsePage(e.value[bucketSize:])
		elements, err := p.elements(nil, nil)
		isBucket := func(e element) bool { return e.flags != 0 }
		if err == nil && p.id == 0 && p.flags == leafFlag && p.overflow == 0 && !slices.ContainsFunc(elements, isBucket) {
			return nil
		}
	}
	return fmt.Errorf("key %.64q has flags %#x and is no bucket: %.32x", e.key, e.flags, e.value)
}

// element is one of a branch or of a leaf.
type element struct {
	child      uint64
	flags      uint32
	key, value []byte
}

// elements returns the elements of a page whose keys must be from low and before
// high. Their data must follow each other, as bbolt writes them: if they
// overlapped, a page could grow beyond all memory when it is written again.
func (p *boltPage) elements(low, high []byte) ([]element, error) {
	at, end := headerSize+elementSize*int64(p.count), int64(len(p.data))
	if at > end {
		return nil, fmt.Errorf("there is no room for %d elements", p.count)
	}
	all := make([]element, p.count)
	for i := range all {
		b := p.data[headerSize+elementSize*i:]
		e := element{flags: native.Uint32(b)}
		pos, keySize, valueSize := int64(native.Uint32(b[4:])), int64(native.Uint32(b[8:])), int64(native.Uint32(b[12:]))
		if p.flags == branchFlag {
			e = element{child: native.Uint64(b[8:])}
			pos, keySize, valueSize = int64(native.Uint32(b)), int64(native.Uint32(b[4:])), 0
		}
		if headerSize+elementSize*int64(i)+pos != at || keySize == 0 || keySize+valueSize > end-at {
			return nil, fmt.Errorf("element %d is at %d, of %d and %d bytes", i, pos, keySize, valueSize)
		}
		e.key, e.value = p.data[at:at+keySize], p.data[at+keySize:at+keySize+valueSize]
		at += keySize + valueSize
		if order := bytes.Compare(low, e.key); order > 0 || order == 0 && i > 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return nil, fmt.Errorf("key %d, %.64q, is out of order", i, e.key)
		}
		all[i], low = e, e.key
	}
	return all, nil
}

// checkFreelist checks, after the walk, that no page is free and used. If the
// freelist is not in the file, bbolt walks as we do, and frees what it does not meet.
func (c *pageCheck) checkFreelist() error {
	if c.Freelist == notSynced {
		return nil
	}
	p, err := c.read(c.Freelist)
	if err != nil {
		return fmt.Errorf("page %d, the freelist: %w", c.Freelist, err)
	}
	ids, count := p.data[headerSize:], uint64(p.count)
	if count == math.MaxUint16 {
		ids, count = ids[8:], native.Uint64(ids)
	}
	if p.flags != freelistFlag || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d, the freelist, has flags %#x and %d pages", p.id, p.flags, count)
	}
	last := uint64(1)
	for i := range count {
		id := native.Uint64(ids[8*i:])
		if id <= last || id >= c.HighWater || !c.meet(id) {
			return fmt.Errorf("the freelist has page %d after %d, of %d, or it is used", id, last, c.HighWater)
		}
		last = id
	}
	return nil
}
