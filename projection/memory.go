package projection

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/state"
	"go.etcd.io/bbolt"
)

// Memory keeps read models in memory, each a value of type S, to which handlers get
// a pointer. Now and then, and when the projection stops, the whole value is saved
// in a file, with the checkpoint; when the program starts again it is read from
// there, and the events since are handled again, so each counts once. It is a model
// for one process.
//
// A handler may have changed the value before it fails, which cannot be undone: the
// value is then read from the last save, and those events are handled again. Readers
// wait meanwhile.
//
// The value is saved in its own binary form, if it has methods MarshalBinary and
// UnmarshalBinary, or else as JSON. One that would not come back the same stops the
// projection with an error that matches [eventstore.ErrInvalid]. If the fields of S
// have changed since, what is saved is of no use, and all events are handled again.
type Memory[S any] struct {
	file   *File
	make   func() S
	schema string
	claims claims

	mu     sync.Mutex
	models map[string]*memory[S]
}

// NewMemory returns a model in memory that is saved in a file, or nowhere if that is
// nil. make returns the value before the first event; nil: the zero value. The file
// is for the caller to close, in the end.
func NewMemory[S any](file *File, make func() S) *Memory[S] {
	if make == nil {
		make = func() (zero S) { return zero }
	}
	return &Memory[S]{file: file, make: make, schema: state.Schema[S](""), models: map[string]*memory[S]{}}
}

// View runs fn on the live value of a projection, which does not change meanwhile.
// fn is not to change it, or to keep what it points to. While a failure is made up
// for, View waits. If the projection never ran the error matches [ErrNoGeneration].
func (m *Memory[S]) View(ctx context.Context, projection string, fn func(*S) error) error {
	one, err := m.model(projection)
	if err != nil {
		return err
	}
	for {
		one.mu.RLock()
		again, live := one.again, one.states[one.shown]
		if again == nil {
			defer one.mu.RUnlock()
			if live == nil {
				return fmt.Errorf("projection %s: %w", projection, ErrNoGeneration)
			}
			return fn(live)
		}
		one.mu.RUnlock()
		select {
		case <-again:
		case <-ctx.Done():
			return fmt.Errorf("projection %s: its state is read again after a failure: %w", projection, ctx.Err())
		}
	}
}

// Traits says that it is for one process, and has one transaction at a time.
func (m *Memory[S]) Traits() Traits { return Traits{} }

// Update is that of [Model].
func (m *Memory[S]) Update(ctx context.Context, projection string, fn func(Tx[*S]) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	one, err := m.model(projection)
	if err != nil {
		return err
	}
	return one.update(fn)
}

// Records is that of [Model].
func (m *Memory[S]) Records(_ context.Context, projection string, fn func(Records) error) error {
	one, err := m.model(projection)
	if err != nil {
		return err
	}
	one.mu.RLock()
	defer one.mu.RUnlock()
	return fn(memoryRecords{one.records, nil})
}

// Flush saves all that is not saved.
func (m *Memory[S]) Flush(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []error
	for _, one := range m.models {
		all = append(all, one.flush())
	}
	return errors.Join(all...)
}

func (m *Memory[S]) claim(projection string) bool { return m.claims.claim(projection) }

func (m *Memory[S]) disclaim(projection string) { m.claims.disclaim(projection) }

// model returns the model of a projection, which is read from the file the first
// time.
func (m *Memory[S]) model(projection string) (*memory[S], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if one, ok := m.models[projection]; ok {
		return one, nil
	}
	one := &memory[S]{Memory: m, name: projection}
	if err := one.open(); err != nil {
		return nil, err
	}
	m.models[projection] = one
	return one, nil
}

// memory is the model of one projection.
type memory[S any] struct {
	*Memory[S]
	name string

	mu      sync.RWMutex
	states  map[uint64]*S
	records map[string][]byte
	shown   uint64
	saved   saved
	since   time.Time     // when it was
	took    time.Duration // for the last save
	changed bool
	seen    uint64        // position of what readers have seen
	again   chan struct{} // closed when that is there again; nil: it is
	careful int           // how many transactions are saved at once, after a failure
}

// saved is what is in the file.
type saved struct {
	Schema  string            `json:"schema"`
	Shown   uint64            `json:"shown"`
	Records map[string][]byte `json:"records"`
	States  map[uint64][]byte `json:"states"`
}

var savedKey = []byte("memory")

// open reads what is saved. What is damaged, or of another type, is none.
func (m *memory[S]) open() error {
	m.states, m.records = make(map[uint64]*S), make(map[string][]byte)
	m.saved, m.since = saved{Schema: m.schema}, time.Now()
	if m.file == nil {
		return nil
	}
	var raw []byte
	err := m.file.db.View(func(tx *bbolt.Tx) error {
		if root := tx.Bucket([]byte(m.name)); root != nil {
			raw = bytes.Clone(root.Get(savedKey))
		}
		return nil
	})
	if err != nil || raw == nil {
		return err
	}
	s, ok := parseSaved(raw)
	if !ok || s.Schema != m.schema {
		return nil
	}
	states := make(map[uint64]*S)
	for g, data := range s.States {
		value, err := state.Decode[S](data)
		if err != nil {
			return nil
		}
		states[g] = &value
	}
	m.saved, m.states, m.records, m.shown = s, states, maps.Clone(s.Records), s.Shown
	return nil
}

// parseSaved reads what is in the file: a checksum, since bbolt has none, and JSON.
func parseSaved(raw []byte) (s saved, ok bool) {
	const size = sha256.Size
	if len(raw) < size {
		return s, false
	}
	if sum := sha256.Sum256(raw[size:]); !bytes.Equal(sum[:], raw[:size]) {
		return s, false
	}
	err := json.Unmarshal(raw[size:], &s)
	return s, err == nil && s.Records != nil
}

func (m *memory[S]) update(fn func(Tx[*S]) error) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx[S]{memoryRecords: memoryRecords{m.records, map[string][]byte{}}, memory: m, shown: m.shown, touched: map[uint64]bool{}}
	before := maps.Clone(m.states)
	done := false
	defer func() {
		if !done { // also after a panic
			m.states = before
			m.rewind(tx.touched)
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	records, shown := m.records, m.shown
	m.records, m.shown, m.changed = tx.merged(), tx.shown, true
	if err := m.saveIfDue(tx.important()); err != nil {
		m.records, m.shown = records, shown
		return err
	}
	done = true
	m.caughtUp()
	return nil
}

// cautious is how many transactions after a failure are saved at once: the same
// events may fail again, and need not be handled again from far back.
const cautious = 16

// rewind sets generations that may have been changed back to what is saved.
func (m *memory[S]) rewind(touched map[uint64]bool) {
	if len(touched) > 0 {
		m.careful = cautious
	}
	for g := range touched {
		if g == m.shown {
			m.hide()
		}
		delete(m.states, g)
		data, ok := m.saved.States[g]
		if ok {
			value, err := state.Decode[S](data)
			if ok = err == nil; ok {
				m.states[g] = &value
			}
		}
		m.records = maps.Clone(m.records)
		maps.DeleteFunc(m.records, func(key string, _ []byte) bool { return ofGeneration(key, g) })
		for key, value := range m.saved.Records {
			if ok && ofGeneration(key, g) {
				m.records[key] = value
			}
		}
		if !ok { // the projection begins anew
			delete(m.records, masterKey)
		}
	}
	m.caughtUp()
}

// hide lets readers wait until all is there again that they have seen. If nothing is
// lost it is.
func (m *memory[S]) hide() {
	saved, _, _ := load[checkpoint](memoryRecords{m.saved.Records, nil}, checkpointKey(m.shown, 0))
	switch now := m.position(); {
	case now == saved.Position:
		m.seen = now
	case m.again == nil:
		m.seen, m.again = now, make(chan struct{})
	}
}

func ofGeneration(key string, g uint64) bool {
	return key == generationKey(g) || strings.HasPrefix(key, checkpointPrefix(g)) || strings.HasPrefix(key, parkedPrefix(g))
}

// position is where the live generation is.
func (m *memory[S]) position() uint64 {
	c, _, _ := load[checkpoint](memoryRecords{m.records, nil}, checkpointKey(m.shown, 0))
	return c.Position
}

// caughtUp lets readers go on if all is there again that they have seen.
func (m *memory[S]) caughtUp() {
	if m.again != nil && m.position() >= m.seen && m.states[m.shown] != nil {
		close(m.again)
		m.again = nil
	}
}

// saveIfDue saves the states now and then, so that it takes little of the time, and
// at once what is not only a checkpoint.
func (m *memory[S]) saveIfDue(important bool) error {
	const share = 20 // one part in so many
	if m.careful > 0 {
		m.careful--
		return m.save()
	}
	if !important && time.Since(m.since) < max(time.Second, share*m.took) {
		return nil
	}
	return m.save()
}

func (m *memory[S]) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = 0 // nobody will bring it further
	m.caughtUp()
	if !m.changed {
		return nil
	}
	return m.save()
}

func (m *memory[S]) save() error {
	start := time.Now()
	s := saved{Schema: m.schema, Shown: m.shown, Records: m.records, States: make(map[uint64][]byte, len(m.states))}
	for g, value := range m.states {
		data, err := state.Encode(*value)
		if err != nil {
			return &eventstore.InvalidError{What: "read model " + m.name, Reason: err.Error()}
		}
		s.States[g] = data
	}
	if m.file != nil {
		if err := m.write(s); err != nil {
			return err
		}
	}
	s.Records = maps.Clone(m.records)
	m.saved, m.since, m.took, m.changed = s, time.Now(), time.Since(start), false
	return nil
}

func (m *memory[S]) write(s saved) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	return m.file.db.Update(func(tx *bbolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists([]byte(m.name))
		if err != nil {
			return err
		}
		return root.Put(savedKey, append(sum[:], raw...))
	})
}
