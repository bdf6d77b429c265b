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
	case i.needs == several && m.One:
		return "the model is for one projection"
	case i.needs == lasting && (m.Again == nil || m.Close == nil):
		return "the model does not last"
	case i.needs == sharing && (m.Again == nil || !traits.Shared):
		return "the model is for one process"
	}
	return ""
}
