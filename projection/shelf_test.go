package projection_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// A shelf is a database in memory that several processes use, each through a [desk].
// It says what every transaction changed, in the order in which that was to be seen.
type shelf struct {
	mu      sync.Mutex
	records map[string][]byte
	changes map[string]uint64 // how often a record, or a generation, was changed
	books   map[uint64]bool   // the generations
	journal []posting
}

// posting is what a transaction changed.
type posting struct {
	by               string            // who made it
	records          map[string][]byte // nil values are removed
	lines            []line
	created, dropped []uint64
}

// A line is an effect of a handler. Nothing that was there before is read, so it does
// not matter to the database whether the same line is written twice.
type line struct {
	generation uint64
	stream     eventstore.StreamID
	position   uint64
	number     int // of the event; 0: forget the stream
	replaying  bool
}

func newShelf() *shelf {
	return &shelf{records: map[string][]byte{}, changes: map[string]uint64{}, books: map[uint64]bool{}}
}

// errSerialization says that a transaction read what another one has changed since.
var errSerialization = errors.New("shelf: another transaction changed that")

// errGone says that the process is dead.
var errGone = errors.New("shelf: the process is gone")

// A desk is where a process works on the shelf. It may be halted, anywhere between
// what it does, and killed.
type desk struct {
	*shelf
	gate gate
}

func (d *desk) Traits() projection.Traits { return projection.Traits{Shared: true, Parallel: true} }

func (d *desk) Records(_ context.Context, _ string, f func(projection.Records) error) error {
	if err := d.gate.pass(); err != nil {
		return err
	}
	d.mu.Lock()
	now := maps.Clone(d.records)
	d.mu.Unlock()
	return f(excerpt(now))
}

// excerpt is records that were read.
type excerpt map[string][]byte

func (p excerpt) Get(key string) ([]byte, error) { return bytes.Clone(p[key]), nil }

func (p excerpt) List(prefix string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for key, value := range p {
		if strings.HasPrefix(key, prefix) {
			all[key] = bytes.Clone(value)
		}
	}
	return all, nil
}

// Update checks, when f is done, that what it read is as it was.
func (d *desk) Update(ctx context.Context, _ string, f func(projection.Tx[*sheet]) error) error {
	if err := errors.Join(ctx.Err(), d.gate.pass()); err != nil {
		return err
	}
	by, _ := ctx.Value(byKey{}).(string)
	tx := &shelfTx{desk: d, read: map[string]uint64{}, posting: posting{by: by, records: map[string][]byte{}}}
	if err := f(tx); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), d.gate.pass()); err != nil {
		return err
	}
	return tx.commit()
}

// byKey is of the context value that says who makes a transaction.
type byKey struct{}

type shelfTx struct {
	*desk
	posting
	read map[string]uint64
}

// see returns a record, and notes which one it was.
func (t *shelfTx) see(key string) []byte {
	if _, again := t.read[key]; !again {
		t.read[key] = t.changes[key]
	}
	return bytes.Clone(t.desk.records[key])
}

func (t *shelfTx) Get(key string) ([]byte, error) {
	if value, ok := t.posting.records[key]; ok {
		return bytes.Clone(value), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.see(key), nil
}

func (t *shelfTx) List(prefix string) (map[string][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string][]byte)
	for key := range t.desk.records {
		if strings.HasPrefix(key, prefix) {
			all[key] = t.see(key)
		}
	}
	for key, value := range t.posting.records {
		if delete(all, key); value != nil && strings.HasPrefix(key, prefix) {
			all[key] = bytes.Clone(value)
		}
	}
	return all, nil
}

func (t *shelfTx) Put(key string, value []byte) error {
	t.posting.records[key] = bytes.Clone(value)
	return nil
}

func bookKey(generation uint64) string { return fmt.Sprint("book/", generation) }

func (t *shelfTx) Data(generation uint64) (*sheet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.see(bookKey(generation)); !t.books[generation] {
		return nil, projection.ErrNoGeneration
	}
	return &sheet{t, generation}, nil
}

func (t *shelfTx) Create(generation uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.see(bookKey(generation)); t.books[generation] {
		return errors.New("shelf: the generation is there already")
	}
	t.created = append(t.created, generation)
	return nil
}

func (t *shelfTx) Show(uint64) error { return nil }

func (t *shelfTx) Drop(generation uint64) error {
	t.dropped = append(t.dropped, generation)
	return nil
}

func (t *shelfTx) commit() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.read {
		if t.changes[key] != n {
			return errSerialization
		}
	}
	for key, value := range t.posting.records {
		if t.changes[key]++; value == nil {
			delete(t.desk.records, key)
			continue
		}
		t.desk.records[key] = value
	}
	for _, g := range t.created {
		t.books[g] = true
		t.changes[bookKey(g)]++
	}
	for _, g := range t.dropped {
		delete(t.books, g)
		t.changes[bookKey(g)]++
	}
	t.journal = append(t.journal, t.posting)
	return nil
}

// taken returns what was entered since the last time.
func (s *shelf) taken() []posting {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.journal
	s.journal = nil
	return all
}

// record returns a record as it is now.
func (s *shelf) record(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.records[key])
}

// A sheet is what handlers write on.
type sheet struct {
	tx         *shelfTx
	generation uint64
}

func (s *sheet) enter(stream eventstore.StreamID, position uint64, number int, replaying bool) {
	s.tx.lines = append(s.tx.lines, line{s.generation, stream, position, number, replaying})
}

// A gate is what a process passes again and again.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil: it is open
	dead   bool
}

// pass waits while the process is halted, however long that is.
func (g *gate) pass() error {
	for {
		g.mu.Lock()
		closed, dead := g.closed, g.dead
		g.mu.Unlock()
		switch {
		case dead:
			return errGone
		case closed == nil:
			return nil
		}
		<-closed
	}
}

func (g *gate) halt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// kill lets nothing that the process still does count.
func (g *gate) kill() {
	g.mu.Lock()
	g.dead = true
	g.mu.Unlock()
	g.resume()
}
