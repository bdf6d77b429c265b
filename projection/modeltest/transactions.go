package modeltest

import (
	"context"
	"errors"

	"github.com/headwater-go/headwater/projection"
)

func errorUndoesRecords[T any](m *model[T]) {
	m.update(func(tx tx[T]) {
		tx.put("projection", "before")
		tx.put("generation/1", "before")
	})
	m.undo(func(tx tx[T]) {
		tx.put("projection", "after")
		tx.remove("generation/1")
		tx.put("generation/2", "after")
		tx.want("generation/3", "")
	})
	m.wantList("", map[string]string{"projection": "before", "generation/1": "before"})
	m.update(func(tx tx[T]) { tx.put("projection", "after") })
	m.want("projection", "after")
}

func errorUndoesData[T any](m *model[T]) {
	m.begin()
	m.undo(func(tx tx[T]) {
		tx.putData(1, "a", "changed")
		tx.putData(1, "b", "new")
	})
	m.wantData(1, "a", "one")
	m.wantData(1, "b", "")
	m.wantLive("a", "one")
}

// begin makes and shows generation 1, in which a is "one".
func (m *model[T]) begin() {
	m.Helper()
	m.update(func(tx tx[T]) {
		tx.put("projection", "one")
		tx.create(1)
		tx.show(1)
		tx.putData(1, "a", "one")
	})
}

func errorUndoesGenerations[T any](m *model[T]) {
	m.begin()
	m.update(func(tx tx[T]) {
		tx.create(2)
		tx.putData(2, "a", "two")
	})
	m.undo(func(tx tx[T]) { tx.create(3) })
	m.undo(func(tx tx[T]) { tx.show(2) })
	m.wantLive("a", "one")
	m.undo(func(tx tx[T]) { tx.show(0) })
	m.wantLive("a", "one")
	m.undo(func(tx tx[T]) { tx.drop(2) })
	m.wantData(2, "a", "two")
	m.wantMissing(3)
	m.undo(func(tx tx[T]) { // as a rebuild ends
		tx.show(2)
		tx.drop(1)
	})
	m.wantLive("a", "one")
	m.wantData(1, "a", "one")
}

func panicUndoes[T any](m *model[T]) {
	outside := m.Model.Traits().Outside
	m.begin()
	func() {
		defer func() {
			if r := recover(); r != "handler" {
				m.Errorf("the panic went on as %v", r)
			}
		}()
		m.undo(func(tx tx[T]) {
			tx.put("projection", "after")
			if !outside {
				tx.putData(1, "a", "changed")
			}
			panic("handler")
		})
	}()
	m.want("projection", "one")
	if !outside {
		m.wantData(1, "a", "one")
	}
	m.update(func(tx tx[T]) { tx.put("projection", "two") })
	m.want("projection", "two")
}

func ended[T any](m *model[T]) {
	ctx, cancel := context.WithCancel(m.Context())
	cancel()
	err := m.Model.Update(ctx, name, func(tx projection.Tx[T]) error { return tx.Put("projection", []byte("after")) })
	if !errors.Is(err, context.Canceled) {
		m.Errorf("a transaction whose context has ended returns %v", err)
	}
	m.want("projection", "")
}

// A handler notices that its context has ended, and says so.
func endedWithin[T any](m *model[T]) {
	m.begin()
	ctx, cancel := context.WithCancel(m.Context())
	defer cancel()
	err := m.Model.Update(ctx, name, func(tx projection.Tx[T]) error {
		err := tx.Put("projection", []byte("after"))
		cancel()
		return errors.Join(err, ctx.Err())
	})
	if !errors.Is(err, context.Canceled) {
		m.Errorf("a transaction whose context ended returns %v", err)
	}
	m.want("projection", "one")
	m.update(func(tx tx[T]) { tx.put("projection", "two") })

	// One that does not notice it comes to all or nothing, and Update knows which.
	ctx, cancel = context.WithCancel(m.Context())
	defer cancel()
	err = m.Model.Update(ctx, name, func(tx projection.Tx[T]) error {
		err := errors.Join(tx.Put("projection", []byte("three")), tx.Put("generation/1", []byte("three")))
		cancel()
		return err
	})
	if err == nil {
		m.wantList("", map[string]string{"projection": "three", "generation/1": "three"})
		return
	}
	m.wantList("", map[string]string{"projection": "two"})
}

func once[T any](m *model[T]) {
	calls := 0
	m.update(func(tx tx[T]) { calls++; tx.put("projection", "one") })
	m.undo(func(tx tx[T]) { calls++ })
	if calls != 2 {
		m.Errorf("in two transactions f was called %d times", calls)
	}
	calls = 0
	m.records(func(projection.Records) error { calls++; return nil })
	if calls != 1 {
		m.Errorf("f was called %d times on the records", calls)
	}
	wrong := m.Model.Records(m.Context(), name, func(projection.Records) error { return errUndo })
	if !errors.Is(wrong, errUndo) {
		m.Errorf("f on the records returned an error, and Records %v", wrong)
	}
}
