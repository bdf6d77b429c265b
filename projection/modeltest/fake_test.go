package modeltest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/projection"
)

var errNoGeneration = fmt.Errorf("fake: %w", projection.ErrNoGeneration)

// disk is what fakes have in common, as processes have a database.
type disk struct {
	turn   sync.Mutex // held by a transaction
	mu     sync.Mutex
	models map[string]*state
}

// state is what there is of a projection.
type state struct {
	records map[string][]byte
	data    map[uint64]words
	shown   uint64
}

func (s *state) clone() *state {
	c := &state{maps.Clone(s.records), make(map[uint64]words), s.shown}
	for g, data := range s.data {
		c.data[g] = maps.Clone(data)
	}
	return c
}

// of returns the state of a projection. The disk is locked.
func (d *disk) of(projection string) *state {
	if d.models[projection] == nil {
		d.models[projection] = &state{records: make(map[string][]byte), data: make(map[uint64]words)}
	}
	return d.models[projection]
}

// fake is a model that does what one does, unless it has a fault. Transactions
// work on a copy, one at a time.
type fake struct {
	disk  *disk
	fault string
}

func (f *fake) Traits() projection.Traits { return projection.Traits{Shared: true} }

func (f *fake) begin(projection string) *state {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	s := f.disk.of(f.key(projection))
	if f.fault == "works on what is there" {
		return s
	}
	return s.clone()
}

func (f *fake) key(projection string) string {
	if f.fault == "cuts names" {
		return projection[:5]
	}
	return projection
}

func (f *fake) commit(projection string, s *state) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.models[f.key(projection)] = s
}

func (f *fake) Update(ctx context.Context, name string, fn func(projection.Tx[words]) error) (err error) {
	if ctx.Err() != nil && f.fault != "goes on for ever" {
		return ctx.Err()
	}
	if f.fault != "lets all write" {
		f.disk.turn.Lock()
		defer f.disk.turn.Unlock()
	}
	s := f.begin(name)
	tx := &fakeTx{f: f, state: s, name: name}
	defer f.recovered(name, tx, &err)
	err = fn(tx)
	if f.fault == "calls twice" {
		err = fn(tx)
	}
	if err != nil {
		return f.undone(name, tx, err)
	}
	if ctx.Err() != nil && f.fault == "commits in vain" {
		f.commit(name, tx.state)
		return ctx.Err()
	}
	f.commit(name, tx.state)
	return nil
}

func (f *fake) recovered(name string, tx *fakeTx, err *error) {
	switch f.fault {
	case "commits after a panic":
		if r := recover(); r != nil {
			f.commit(name, tx.state)
			panic(r)
		}
	case "swallows a panic":
		if r := recover(); r != nil {
			*err = errors.New("panic")
		}
	}
}

// undone is what a transaction leaves that failed.
func (f *fake) undone(name string, tx *fakeTx, err error) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	before := f.disk.of(f.key(name))
	switch f.fault {
	case "keeps records":
		before.records = tx.state.records
	case "keeps data":
		before.data = tx.state.data
	case "keeps what is shown":
		before.shown = tx.state.shown
	case "commits after its context":
		if errors.Is(err, context.Canceled) {
			before.records = tx.state.records
		}
	case "has an error of its own":
		return errors.New("rolled back")
	}
	return err
}

func (f *fake) Records(_ context.Context, projection string, fn func(projection.Records) error) error {
	return fn(&fakeRecords{f, projection, f.begin(projection)})
}

// fakeRecords are the records of a state.
type fakeRecords struct {
	f     *fake
	name  string
	state *state
}

func (r *fakeRecords) Get(key string) ([]byte, error) {
	s := r.state
	if r.f.fault == "reads on" {
		s = r.f.begin(r.name)
	}
	return r.f.get(s, key), nil
}

func (r *fakeRecords) List(prefix string) (map[string][]byte, error) {
	return r.f.list(r.state, prefix), nil
}

func (f *fake) get(s *state, key string) []byte {
	value, ok := s.records[f.record(key)]
	switch {
	case !ok && f.fault == "empty for nothing":
		return []byte{}
	case f.fault == "writes over":
		return value
	}
	return bytes.Clone(value)
}

// record is under which key a record is kept.
func (f *fake) record(key string) string {
	switch f.fault {
	case "takes A for a":
		return strings.ToLower(key)
	case "cuts spaces":
		return strings.TrimSpace(key)
	case "cuts keys":
		return key[:min(len(key), 255)]
	}
	return key
}

func (f *fake) list(s *state, prefix string) map[string][]byte {
	found := make(map[string][]byte)
	for key, value := range s.records {
		if f.begins(key, prefix) {
			found[key] = bytes.Clone(value)
		}
	}
	return found
}

func (f *fake) begins(key, prefix string) bool {
	switch f.fault {
	case "has wildcards":
		n := min(len(key), len(prefix))
		return n == len(prefix) && slices.EqualFunc([]byte(key[:n]), []byte(prefix), func(k, p byte) bool { return k == p || p == '_' })
	case "lists without case":
		return strings.HasPrefix(strings.ToLower(key), strings.ToLower(prefix))
	}
	return strings.HasPrefix(key, prefix)
}

// fakeTx is a transaction.
type fakeTx struct {
	f     *fake
	name  string
	state *state
}

func (t *fakeTx) Get(key string) ([]byte, error) {
	if t.f.fault == "sees what was before" {
		return t.f.get(t.f.begin(t.name), key), nil
	}
	return t.f.get(t.state, key), nil
}

func (t *fakeTx) List(prefix string) (map[string][]byte, error) {
	return t.f.list(t.state, prefix), nil
}

func (t *fakeTx) Put(key string, value []byte) error {
	key = t.f.record(key)
	_, there := t.state.records[key]
	switch {
	case value == nil && t.f.fault == "removes nothing":
	case value == nil:
		delete(t.state.records, key)
	case there && t.f.fault == "keeps the first":
	case there && t.f.fault == "writes over":
		copy(t.state.records[key], value)
	case t.f.fault == "keeps what was put":
		t.state.records[key] = value
	default:
		t.state.records[key] = bytes.Clone(value)
	}
	return nil
}

func (t *fakeTx) Data(generation uint64) (words, error) {
	data, ok := t.state.data[t.number(generation)]
	switch {
	case ok:
		return data, nil
	case t.f.fault == "makes what is missing":
		return words{}, nil
	case t.f.fault == "has errors of its own":
		return nil, errors.New("there is none")
	}
	return nil, errNoGeneration
}

func (t *fakeTx) number(generation uint64) uint64 {
	if t.f.fault == "has one generation" && generation > 0 {
		return 1
	}
	return generation
}

func (t *fakeTx) Create(generation uint64) error {
	_, there := t.state.data[t.number(generation)]
	switch {
	case there && t.f.fault == "has one generation":
		return nil
	case there && t.f.fault != "makes anew":
		return errors.New("it is there")
	}
	data := words{}
	if t.f.fault == "begins with what was" {
		for _, was := range t.state.data {
			maps.Copy(data, was)
		}
	}
	t.state.data[t.number(generation)] = data
	return nil
}

func (t *fakeTx) Show(generation uint64) error {
	if t.f.fault == "shows at once" {
		t.f.disk.mu.Lock()
		t.f.disk.of(t.name).shown = generation
		t.f.disk.mu.Unlock()
	}
	t.state.shown = generation
	return nil
}

func (t *fakeTx) Drop(generation uint64) error {
	switch t.f.fault {
	case "drops nothing":
		return nil
	case "drops all":
		clear(t.state.data)
	}
	delete(t.state.data, generation)
	return nil
}
