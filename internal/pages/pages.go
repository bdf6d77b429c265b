// Package pages tells whether a bbolt file is one that bbolt can work on.
//
// bbolt trusts its pages: it panics where they make no sense, faults where the file is
// shorter than its memory map, and calls itself without end where they are a loop, which
// ends the process. So they are walked before it opens a file.
package pages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// A bbolt file is a row of pages of one size, in the machine's byte order. A page
// goes on in as many pages as its overflow says. A branch page has elements of
// position (4 bytes, from the element), key size (4) and child (8), a leaf page of
// flags, position, key size and value size (4 each); then come their data. A bucket
// is a value of root page (8) and sequence (8), and of a leaf page if the root is 0.
// A freelist has ids of pages (8); if its count is 0xffff, the first is the count.
const (
	headerSize, metaSize, elementSize, bucketSize  = 16, 64, 16, 16
	branchFlag, leafFlag, freelistFlag, bucketFlag = 0x01, 0x02, 0x10, 0x01 // the last is of a leaf's element
	minPageSize, maxPageSize                       = 1 << 10, 1 << 24       // where bbolt looks for the second meta page
	maxDepth                                       = 64                     // of pages that lead to a page; bbolt calls itself for each
	notSynced                                      = math.MaxUint64         // the freelist's page, if it has none
)

var native = binary.NativeEndian

// pageMeta is what each of the first two pages has after the header.
type pageMeta struct {
	Magic, Version, PageSize, Flags                   uint32
	Root, Sequence, Freelist, HighWater, Tx, Checksum uint64
}

// ErrDamaged says that a file is not what bbolt wrote.
var ErrDamaged = errors.New("the file is damaged")

// CheckFile is Check for the file at path, which nobody changes meanwhile. There need
// not be one, and it may be empty: bbolt makes a database of it.
func CheckFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if err := Check(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// Check reports why a bbolt file is not one that bbolt can work on safely, nil if it
// is. All of it is read.
func Check(f io.ReaderAt, size int64) error {
	m, err := findMeta(f, size)
	if err != nil {
		return err
	}
	if has := uint64(size) / uint64(m.PageSize); m.HighWater > has || uint64(size) > math.MaxInt {
		return fmt.Errorf("the file has %d pages of %d", has, m.HighWater)
	}
	c := &pageCheck{pageMeta: m, f: f, met: make([]byte, m.HighWater/8+1)}
	// Without a freelist bbolt walks the tree as we do, and frees what it does not meet.
	if err := c.visit(m.Root, nil, nil); err != nil || m.Freelist == notSynced {
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
		// After the highest transaction bbolt would go back to an old tree, and overwrite it.
		if m.PageSize < minPageSize || m.PageSize > maxPageSize || m.PageSize&(m.PageSize-1) != 0 ||
			at > 0 && at != int64(m.PageSize) || m.Tx > math.MaxInt64 {
			return best, fmt.Errorf("the meta page at %d is for pages of %d bytes, and transaction %d", at, m.PageSize, m.Tx)
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
	f              io.ReaderAt
	met            []byte // a bit a page
	spare          []byte // memory for a page
	depth, nesting int    // of pages, of buckets
}

// boltPage is a page, with the pages that it goes on in.
type boltPage struct {
	id           uint64
	flags, count uint16
	overflow     uint32
	data         []byte
}

func parsePage(b []byte) boltPage {
	return boltPage{native.Uint64(b), native.Uint16(b[8:]), native.Uint16(b[10:]), native.Uint32(b[12:]), b}
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
		return p, fmt.Errorf("there are pages 2 to %d", int64(c.HighWater)-1)
	}
	header, at := make([]byte, headerSize), int64(id)*int64(c.PageSize)
	if _, err := c.f.ReadAt(header, at); err != nil {
		return p, err
	}
	p = parsePage(header)
	end := id + uint64(p.overflow) + 1
	if p.id != id || end > c.HighWater {
		return p, fmt.Errorf("it says it is page %d, and ends before %d, of %d", p.id, end, c.HighWater)
	}
	for i := id; i < end; i++ {
		if !c.meet(i) {
			return p, fmt.Errorf("page %d is used twice", i)
		}
	}
	size := int(end-id) * int(c.PageSize)
	p.data, c.spare = slices.Grow(c.spare[:0], size)[:size], nil
	_, err = c.f.ReadAt(p.data, at)
	return p, err
}

// visit checks a tree of pages, with keys from low on and before high; nil is any.
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
	branch, empty := p.flags == branchFlag, p.count == 0 // only a root may be empty
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
	switch size := len(e.value); {
	case e.flags != bucketFlag || size < bucketSize:
	case native.Uint64(e.value) > 0 && size == bucketSize:
		c.nesting++
		defer func() { c.nesting-- }()
		return c.visit(native.Uint64(e.value), nil, nil)
	case native.Uint64(e.value) == 0 && size >= bucketSize+headerSize:
		// bbolt would free the page whose id this one has, and puts no buckets in it.
		p := parsePage(e.value[bucketSize:])
		elements, err := p.elements(nil, nil)
		marked := func(e element) bool { return e.flags != 0 }
		if err == nil && p.id == 0 && p.flags == leafFlag && p.overflow == 0 && !slices.ContainsFunc(elements, marked) {
			return nil
		}
	}
	return fmt.Errorf("key %.64q has flags %#x and is no bucket: %.32x", e.key, e.flags, e.value)
}

// element is one of a branch or of a leaf.
type element struct {
	child      uint64 // of a branch
	flags      uint32 // of a leaf
	key, value []byte
}

// elements returns the elements of a page. The first key must be low, by which
// bbolt finds the page in its branch again, and the data packed, as it packs them:
// if they overlapped, a page could outgrow all memory when it is written.
func (p *boltPage) elements(low, high []byte) ([]element, error) {
	at, end := headerSize+elementSize*int64(p.count), int64(len(p.data))
	if at > end {
		return nil, fmt.Errorf("there is no room for %d elements", p.count)
	}
	all := make([]element, p.count)
	for i := range all {
		b := p.data[headerSize+elementSize*i:]
		e := element{child: native.Uint64(b[8:]), flags: native.Uint32(b)}
		pos, keySize, valueSize := int64(native.Uint32(b[4:])), int64(native.Uint32(b[8:])), int64(native.Uint32(b[12:]))
		if p.flags == branchFlag {
			pos, keySize, valueSize = int64(native.Uint32(b)), int64(native.Uint32(b[4:])), 0
		}
		if headerSize+elementSize*int64(i)+pos != at || keySize == 0 || keySize+valueSize > end-at {
			return nil, fmt.Errorf("element %d is at %d, of %d and %d bytes", i, pos, keySize, valueSize)
		}
		e.key, e.value = p.data[at:at+keySize], p.data[at+keySize:at+keySize+valueSize]
		at += keySize + valueSize
		order := bytes.Compare(low, e.key)
		if i > 0 && order >= 0 || i == 0 && low != nil && order != 0 || high != nil && bytes.Compare(e.key, high) >= 0 {
			return nil, fmt.Errorf("key %d, %.64q, is out of order", i, e.key)
		}
		all[i], low = e, e.key
	}
	return all, nil
}

// checkFreelist checks, after the walk, that no page is free and used.
func (c *pageCheck) checkFreelist() error {
	p, err := c.read(c.Freelist)
	if err != nil {
		return fmt.Errorf("the freelist, page %d: %w", c.Freelist, err)
	}
	ids, count := p.data[headerSize:], uint64(p.count)
	if count == math.MaxUint16 {
		ids, count = ids[8:], native.Uint64(ids)
	}
	if p.flags != freelistFlag || count > uint64(len(ids)/8) {
		return fmt.Errorf("the freelist, page %d, has flags %#x and %d ids", p.id, p.flags, count)
	}
	for i, last := uint64(0), uint64(1); i < count; i++ {
		id := native.Uint64(ids[8*i:])
		if id <= last || id >= c.HighWater || !c.meet(id) {
			return fmt.Errorf("the freelist has page %d after %d, of %d, or it is used", id, last, c.HighWater)
		}
		last = id
	}
	return nil
}
