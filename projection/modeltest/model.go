package modeltest

import (
	"context"
	"errors"
	"testing"

	"github.com/headwater-go/headwater/projection"
)

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
