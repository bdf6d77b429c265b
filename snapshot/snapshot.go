package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Snapshot is the state that a stream's events came to, and where the stream
// stood then.
type Snapshot struct {
	Stream eventstore.StreamID
	// Log is the identity of the log, see [eventstore.Store.Identity], and
	// Schema says how the state was folded and encoded. A snapshot is only of
	// use where both are the same.
	Log, Schema string
	// At is the stream's revision after the last event in the state.
	At eventstore.Revision
	// Applied are the last commits in the state, the latest one last.
	Applied []Applied
	// Taken is when the snapshot was handed over to be saved.
	Taken time.Time
	// State is the encoded state.
	State []byte
}

// Applied is a commit in a state.
type Applied struct {
	ID      CommitKey
	Version uint64 // of the stream after it
}

// CommitKey stands for the id of a commit: the first half of its SHA-256.
type CommitKey [16]byte

// KeyOf returns the key of a commit's id.
func KeyOf(commitID string) CommitKey {
	sum := sha256.Sum256([]byte(commitID))
	return CommitKey(sum[:16])
}

// key is the snapshot's name in the backend. A kind has no '/'.
func key(stream eventstore.StreamID) string { return stream.String() }

func parseKey(key string) (eventstore.StreamID, error) {
	kind, id, ok := strings.Cut(key, "/")
	if !ok {
		return eventstore.StreamID{}, fmt.Errorf("%q is not the name of a stream", key)
	}
	return eventstore.StreamID{Kind: kind, ID: id}, nil
}

const (
	recordFormat = 1
	sumSize      = 16
)

// record returns the bytes of a snapshot: the format, a checksum of all that
// follows and of the key, and the fields in their order, numbers as unsigned
// varints, texts with their length before them, the state last and without.
func (s *Snapshot) record() ([]byte, error) {
	at, err := s.At.MarshalBinary()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 1+sumSize, 1+sumSize+len(s.Log)+len(s.Schema)+len(at)+20*len(s.Applied)+len(s.State)+64)
	b[0] = recordFormat
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	text(s.Log)
	text(s.Schema)
	text(string(at))
	b = binary.AppendVarint(b, s.Taken.UnixNano())
	b = binary.AppendUvarint(b, uint64(len(s.Applied)))
	for _, a := range s.Applied {
		b = append(b, a.ID[:]...)
		b = binary.AppendUvarint(b, s.At.Version-a.Version)
	}
	b = append(b, s.State...)
	sum := checksum(s.Stream, b[1+sumSize:])
	copy(b[1:], sum[:])
	return b, nil
}

func checksum(stream eventstore.StreamID, content []byte) (sum [sumSize]byte) {
	h := sha256.New()
	name := key(stream)
	h.Write(binary.AppendUvarint(nil, uint64(len(name))))
	h.Write([]byte(name))
	h.Write(content)
	return [sumSize]byte(h.Sum(nil))
}

var (
	errFormat   = errors.New("it has a format that this version does not know")
	errChecksum = errors.New("its checksum is not that of its content")
	errMalform  = errors.New("it is malformed")
)

// parse returns the snapshot that record made these bytes of.
func parse(stream eventstore.StreamID, record []byte) (*Snapshot, error) {
	if len(record) < 1+sumSize {
		return nil, errMalform
	}
	if record[0] != recordFormat {
		return nil, errFormat
	}
	content := record[1+sumSize:]
	if sum := checksum(stream, content); !bytes.Equal(sum[:], record[1:1+sumSize]) {
		return nil, errChecksum
	}
	s := &Snapshot{Stream: stream}
	p := parser{rest: content}
	s.Log, s.Schema = string(p.text()), string(p.text())
	err := s.At.UnmarshalBinary(p.text())
	s.Taken = time.Unix(0, p.signed()).UTC()
	n := p.number()
	if n > uint64(len(p.rest))/uint64(len(CommitKey{})) {
		return nil, errMalform
	}
	s.Applied = make([]Applied, n)
	for i := range s.Applied {
		copy(s.Applied[i].ID[:], p.take(uint64(len(CommitKey{}))))
		s.Applied[i].Version = s.At.Version - p.number()
	}
	if s.State = p.rest; p.failed || err != nil {
		return nil, errMalform
	}
	return s, nil
}

// parser reads the fields of a record. After a failure what it returns is zero.
type parser struct {
	rest   []byte
	failed bool
}

func (p *parser) number() uint64 {
	v, n := binary.Uvarint(p.rest)
	return uint64(advance(p, int64(v), n))
}

func (p *parser) signed() int64 {
	v, n := binary.Varint(p.rest)
	return advance(p, v, n)
}

func advance(p *parser, v int64, n int) int64 {
	if n <= 0 || p.failed {
		p.failed = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parser) take(n uint64) []byte {
	if n > uint64(len(p.rest)) || p.failed {
		p.failed = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parser) text() []byte { return p.take(p.number()) }
