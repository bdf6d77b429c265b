package eventstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/minio/highwayhash"
)

// A stored log is the folder in which a stopped server keeps one: meta.inf with
// the settings, meta.sum with its checksum, and in msgs the blocks 1.blk, 2.blk
// and so on, and index.db, which the server writes when it stops in good order.
type storedLog struct {
	testing.TB
	dir string
}

func storedIn(t testing.TB, serverDir, log string) storedLog {
	t.Helper()
	return storedLog{t, filepath.Join(serverDir, "jetstream", "$G", "streams", log)}
}

func (s storedLog) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

const (
	metaFile  = "meta.inf"
	metaSum   = "meta.sum"
	indexFile = "msgs/index.db"
)

func blockFile(i int) string { return fmt.Sprintf("msgs/%d.blk", i) }

func (s storedLog) read(name string) []byte {
	s.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	return data
}

func (s storedLog) write(name string, data []byte) {
	s.Helper()
	if err := os.WriteFile(s.path(name), data, 0o600); err != nil {
		s.Fatal(err)
	}
}

// remove removes a file that may not be there.
func (s storedLog) remove(name string) {
	s.Helper()
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
}

// blocks returns the numbers of the blocks in their order.
func (s storedLog) blocks() (numbers []int) {
	s.Helper()
	entries, err := os.ReadDir(s.path("msgs"))
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".blk")); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// A record is how a block keeps a message:
//
//	length(4) position(8) time(8) subject length(2) subject [header length(4) header] body checksum(8)
//
// all little endian. The top bit of the length says that there is a header; the
// two top bits of the position mark what takes a message away.
type record struct {
	block    int
	at       int // offset in its block
	position uint64
	subject  string
	size     int
	content  int // offset of header and body in the record
}

const (
	recordHead     = 22
	recordChecksum = 8
	withHeader     = 1 << 31
	takenAway      = 3 << 62
)

// records returns what a sound block holds.
func records(t testing.TB, number int, block []byte) (all []record) {
	t.Helper()
	for at := 0; at < len(block); {
		r := record{block: number, at: at}
		if len(block)-at < recordHead+recordChecksum {
			t.Fatalf("block %d ends within the record at %d", number, at)
		}
		length := binary.LittleEndian.Uint32(block[at:])
		r.size = int(length &^ withHeader)
		r.position = binary.LittleEndian.Uint64(block[at+4:])
		subject := at + recordHead
		r.content = recordHead + int(binary.LittleEndian.Uint16(block[at+20:]))
		if length&withHeader == 0 || r.position&takenAway != 0 || r.size > len(block)-at || r.content+4+recordChecksum > r.size {
			t.Fatalf("block %d has no record of a commit at %d", number, at)
		}
		r.subject = string(block[subject : at+r.content])
		r.content += 4
		all = append(all, r)
		at += r.size
	}
	return all
}

// records returns what all blocks hold, in the order of the log.
func (s storedLog) records() (all []record) {
	s.Helper()
	for _, n := range s.blocks() {
		all = append(all, records(s, n, s.read(blockFile(n)))...)
	}
	return all
}

// seal gives a record the checksum that it has in a block of this number.
func (s storedLog) seal(number int, r []byte) {
	s.Helper()
	subject := recordHead + int(binary.LittleEndian.Uint16(r[20:]))
	end := len(r) - recordChecksum
	name := fmt.Sprintf("%s-%d", filepath.Base(s.dir), number)
	s.checksum(name, r[:end], r[4:20], r[recordHead:subject], r[subject+4:end])
}

// split makes small blocks of large ones, so that a small log has several. The
// server reads blocks of any size: only when it writes does it end one at 8
// MiB. The index, which no longer fits, goes.
func (s storedLog) split(size int) {
	s.Helper()
	var all bytes.Buffer
	for _, n := range s.blocks() {
		all.Write(s.read(blockFile(n)))
		s.remove(blockFile(n))
	}
	data, from, number := all.Bytes(), 0, 1
	for _, r := range records(s, 0, data) {
		s.seal(number, data[r.at:r.at+r.size])
		if end := r.at + r.size; end-from >= size || end == len(data) {
			s.write(blockFile(number), data[from:end])
			from, number = end, number+1
		}
	}
	s.remove(indexFile)
}

// writeMeta writes the log's settings with their checksum.
func (s storedLog) writeMeta(settings []byte) {
	s.Helper()
	sum := s.checksum(filepath.Base(s.dir), nil, settings)
	s.write(metaFile, settings)
	s.write(metaSum, hex.AppendEncode(nil, sum))
}

// checksum appends the checksum of some parts under a key of this name.
func (s storedLog) checksum(name string, to []byte, parts ...[]byte) []byte {
	s.Helper()
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		s.Fatal(err)
	}
	for _, part := range parts {
		_, _ = h.Write(part) // never fails
	}
	return h.Sum(to)
}
