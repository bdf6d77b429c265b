// Package modeltest tests that a model does what a [projection.Model] does. It is for
// those who bring another one than this module has:
//
//	func TestModel(t *testing.T) {
//		modeltest.Run(t, func(t *testing.T) modeltest.Fixture[*mine.Tx] {
//			m := open(t)
//			return modeltest.Fixture[*mine.Tx]{
//				Model: m,
//				Put:   func(tx *mine.Tx, key, value string) error { return tx.Set(key, value) },
//				Get:   func(tx *mine.Tx, key string) (string, error) { return tx.Lookup(key) },
//				Live:  m.Read,
//			}
//		})
//	}
//
// Where a model is right in two ways, both pass: of two transactions on one record the
// second may wait or fail, and readers may wait for a transaction or see what was before.
// The tests give such a wait a tenth of a second.
package modeltest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/headwater-go/headwater/projection"
)

const (
	patience = 30 * time.Second       // for what has to happen
	moment   = 100 * time.Millisecond // for what may have to wait
)

// Fixture is a model with ways to use what is its own: how handlers change a generation,
// and how readers read.
type Fixture[T any] struct {
	// Model is new and empty.
	Model projection.Model[T]
	// Put sets a value in what handlers get. The keys and values are short words.
	Put func(data T, key, value string) error
	// Get returns a value from what handlers get, "" if there is none.
	Get func(data T, key string) (string, error)
	// Live returns a value from the generation that readers of a projection see, ""
	// if there is none in it. If they see no generation it returns an error.
	Live func(ctx context.Context, projection, key string) (string, error)
	// Close closes the model; nil: there is nothing to close. It is called once.
	Close func() error
	// Again opens the model once more, as another process would: after Close, or
	// before if several may use it at a time. Default: a model that does not last.
	Again func(t *testing.T) Fixture[T]
	// One says that the model is for one projection.
	One bool
}

// Run tests the models that open returns, each of them new and empty. open fails the
// test that it is given if it cannot open one. The tests run in parallel. Each closes
// its model.
//
// If the model has a method Flush(context.Context) error, as one that does not keep
// everything on the disk at once, it is called after each transaction.
//
// Of a model with the trait Outside only the records are tested.
func Run[T any](t *testing.T, open func(t *testing.T) Fixture[T]) {
	for _, item := range items[T]() {
		t.Run(item.name, func(t *testing.T) {
			t.Parallel()
			m := model[T]{t, open(t)}
			defer func() { m.close() }()
			if reason := item.skip(m); reason != "" {
				t.Skip(reason)
			}
			item.run(&m)
		})
	}
}

type item[T any] struct {
	name  string
	needs needs
	run   func(*model[T])
}

// needs is what an item needs of a model.
type needs int

const (
	anything needs = iota
	readModel
	several
	lasting
	sharing
)

func items[T any]() []item[T] {
	return []item[T]{
		{"records are kept", anything, kept[T]},
		{"a record is removed", anything, removed[T]},
		{"a transaction sees its own records", anything, ownWrites[T]},
		{"keys and values are any text", anything, anyText[T]},
		{"a listing goes by the prefix", anything, listed[T]},
		{"a record that was read is not changed", anything, owned[T]},
		{"a record belongs to the model when it is put", anything, keptNot[T]},
		{"an error undoes records", anything, errorUndoesRecords[T]},
		{"an error undoes the read model", readModel, errorUndoesData[T]},
		{"an error undoes generations", readModel, errorUndoesGenerations[T]},
		{"a panic undoes all", anything, panicUndoes[T]},
		{"nothing is done after the context", anything, ended[T]},
		{"a context that ends undoes all", anything, endedWithin[T]},
		{"f is called once", anything, once[T]},
		{"of two that change a record none is lost", anything, countedBoth[T]},
		{"of two that make a record one sees the other", anything, madeOnce[T]},
		{"a record that was read stays", anything, stays[T]},
		{"a record that was not there is not made", anything, staysAway[T]},
		{"what is not committed is not read", anything, uncommitted[T]},
		{"records are of one moment", anything, oneMoment[T]},
		{"generations are kept apart", readModel, generations[T]},
		{"a generation that is not there", readModel, noGeneration[T]},
		{"a generation is made once", readModel, createdTwice[T]},
		{"readers see what is shown", readModel, shown[T]},
		{"readers see nothing", readModel, shownNone[T]},
		{"readers see whole transactions", readModel, shownWhole[T]},
		{"a generation is dropped", readModel, dropped[T]},
		{"a number is used again", readModel, droppedAndMade[T]},
		{"projections are kept apart", several, apart[T]},
		{"everything is there when it is opened again", lasting, lasts[T]},
		{"two processes", sharing, twoProcesses[T]},
	}
}

func (i item[T]) skip(m model[T]) string {
	traits := m.Model.Traits()
	switch {
	case i.needs == readModel && traits.Outside:
		return "there is no read model"
	case i.needs == several && (m.One || traits.Outside):
		return "the model is for one projection, or has no read model"
	case i.needs == lasting && (m.Again == nil || m.Close == nil):
		return "the model does not last"
	case i.needs == sharing && (m.Again == nil || !traits.Shared):
		return "the model is for one process"
	}
	return ""
}

// model is a model that is tested.
type model[T any] struct {
	*testing.T
	Fixture[T]
}

// name is that of the projection whose model it is.
const name = "sales"

func (m *model[T]) close() {
	m.Helper()
	if m.Close == nil {
		return
	}
	if err := m.Close(); err != nil {
		m.Errorf("close: %v", err)
	}
}

// context is for one transaction: a model that waits for ever fails the test.
func (m *model[T]) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.T.Context(), patience)
}

// try runs a transaction, and lets the model put it on the disk.
func (m *model[T]) try(f func(projection.Tx[T]) error) error {
	return m.tryOf(name, f)
}

func (m *model[T]) tryOf(name string, f func(projection.Tx[T]) error) error {
	ctx, cancel := m.context()
	defer cancel()
	if err := m.Model.Update(ctx, name, f); err != nil {
		return err
	}
	if f, ok := m.Model.(interface{ Flush(context.Context) error }); ok {
		return f.Flush(ctx)
	}
	return nil
}

// update runs a transaction that has to succeed.
func (m *model[T]) update(f func(tx tx[T])) { m.Helper(); m.updateOf(name, f) }

func (m *model[T]) updateOf(name string, f func(tx tx[T])) {
	m.Helper()
	err := m.tryOf(name, func(inner projection.Tx[T]) error {
		tx := tx[T]{inner, m, new(error)}
		f(tx)
		return *tx.err
	})
	if err != nil {
		m.Fatalf("a transaction: %v", err)
	}
}

var errUndo = errors.New("undo this")

// undo runs a transaction that ends with an error, after all in it went well.
func (m *model[T]) undo(f func(tx tx[T])) {
	m.Helper()
	err := m.try(func(inner projection.Tx[T]) error {
		tx := tx[T]{inner, m, new(error)}
		f(tx)
		return errors.Join(*tx.err, errUndo)
	})
	if !errors.Is(err, errUndo) {
		m.Errorf("a transaction whose f returned an error returned another one, or none: %v", err)
	}
}

// records runs f on the records of a projection.
func (m *model[T]) records(f func(projection.Records) error) {
	m.Helper()
	m.recordsOf(name, f)
}

func (m *model[T]) recordsOf(name string, f func(projection.Records) error) {
	m.Helper()
	ctx, cancel := m.context()
	defer cancel()
	if err := m.Model.Records(ctx, name, f); err != nil {
		m.Fatalf("records: %v", err)
	}
}

// want checks a record, "" for none.
func (m *model[T]) want(key, want string) { m.Helper(); m.wantOf(name, key, want) }

func (m *model[T]) wantOf(name, key, want string) {
	m.Helper()
	m.recordsOf(name, func(r projection.Records) error {
		got, err := r.Get(key)
		if string(got) != want || (got == nil) != (want == "") {
			m.Errorf("record %.60q is %.60q (nil: %t), want %.60q", key, got, got == nil, want)
		}
		return err
	})
}

// wantData checks a value of a generation.
func (m *model[T]) wantData(generation uint64, key, want string) {
	m.Helper()
	m.update(func(tx tx[T]) { tx.wantData(generation, key, want) })
}

// wantLive checks a value that readers see.
func (m *model[T]) wantLive(key, want string) { m.Helper(); m.wantLiveOf(name, key, want) }

func (m *model[T]) wantLiveOf(name, key, want string) {
	m.Helper()
	ctx, cancel := m.context()
	defer cancel()
	if got, err := m.Live(ctx, name, key); err != nil || got != want {
		m.Errorf("readers see %s = %q, %v, want %q", key, got, err, want)
	}
}

func (m *model[T]) wantNoneLive() {
	m.Helper()
	ctx, cancel := m.context()
	defer cancel()
	if got, err := m.Live(ctx, name, "a"); err == nil {
		m.Errorf("readers see a generation, with a = %q, and none is shown", got)
	}
}

// tx is a transaction that keeps its first error.
type tx[T any] struct {
	projection.Tx[T]
	m   *model[T]
	err *error
}

func (t tx[T]) note(err error) {
	if *t.err == nil {
		*t.err = err
	}
}

func (t tx[T]) put(key, value string) { t.note(t.Put(key, []byte(value))) }
func (t tx[T]) remove(key string)     { t.note(t.Put(key, nil)) }
func (t tx[T]) create(g uint64)       { t.note(t.Create(g)) }
func (t tx[T]) show(g uint64)         { t.note(t.Show(g)) }
func (t tx[T]) drop(g uint64)         { t.note(t.Drop(g)) }

// want checks a record as the transaction sees it.
func (t tx[T]) want(key, want string) {
	t.m.Helper()
	got, err := t.Get(key)
	t.note(err)
	if string(got) != want || (got == nil) != (want == "") {
		t.m.Errorf("in the transaction record %.60q is %.60q (nil: %t), want %.60q", key, got, got == nil, want)
	}
}

func (t tx[T]) putData(g uint64, key, value string) {
	data, err := t.Data(g)
	if err == nil {
		err = t.m.Put(data, key, value)
	}
	t.note(err)
}

func (t tx[T]) wantData(g uint64, key, want string) {
	t.m.Helper()
	data, err := t.Data(g)
	if err != nil {
		t.note(err)
		return
	}
	got, err := t.m.Get(data, key)
	t.note(err)
	if got != want {
		t.m.Errorf("in generation %d %s is %q, want %q", g, key, got, want)
	}
}
