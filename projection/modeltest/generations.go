package modeltest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/projection"
)

// wantMissing checks that there is no such generation.
func (m *model[T]) wantMissing(g uint64) {
	m.Helper()
	err := m.try(func(tx projection.Tx[T]) error {
		_, err := tx.Data(g)
		return err
	})
	if !errors.Is(err, projection.ErrNoGeneration) {
		m.Errorf("the data of generation %d, which is not there, is %v", g, err)
	}
}

func generations[T any](m *model[T]) {
	m.begin()
	m.update(func(tx tx[T]) {
		tx.create(2)
		tx.create(11)
		tx.wantData(2, "a", "")
		tx.putData(2, "a", "two")
		tx.wantData(2, "a", "two")
		tx.wantData(1, "a", "one")
	})
	m.update(func(tx tx[T]) {
		tx.putData(1, "b", "of one")
		tx.putData(2, "c", "of two")
	})
	m.wantData(1, "a", "one")
	m.wantData(1, "b", "of one")
	m.wantData(1, "c", "")
	m.wantData(2, "a", "two")
	m.wantData(2, "b", "")
	m.wantData(11, "a", "")
	m.wantLive("c", "")
}

func noGeneration[T any](m *model[T]) {
	m.wantMissing(1)
	m.begin()
	m.wantMissing(2)
	m.wantMissing(0)
}

func createdTwice[T any](m *model[T]) {
	m.begin()
	if err := m.try(func(tx projection.Tx[T]) error { return tx.Create(1) }); err == nil {
		m.Error("a generation that was there was made again")
	}
	m.wantData(1, "a", "one")
}

func shown[T any](m *model[T]) {
	m.begin()
	m.update(func(tx tx[T]) { tx.create(2) })
	m.update(func(tx tx[T]) { tx.putData(2, "a", "two") })
	m.wantLive("a", "one")
	m.update(func(tx tx[T]) { tx.putData(1, "a", "more") })
	m.wantLive("a", "more")
	m.update(func(tx tx[T]) {
		tx.putData(2, "b", "last")
		tx.show(2)
	})
	m.wantLive("a", "two")
	m.wantLive("b", "last")
	m.update(func(tx tx[T]) { tx.putData(2, "a", "more") })
	m.wantLive("a", "more")
	m.update(func(tx tx[T]) { tx.show(1) }) // back again
	m.wantLive("b", "")
	m.update(func(tx tx[T]) { tx.show(1) }) // nothing changes
	m.wantLive("a", "more")
}

func shownNone[T any](m *model[T]) {
	m.wantNoneLive()
	m.update(func(tx tx[T]) { tx.create(1) })
	m.wantNoneLive()
	m.update(func(tx tx[T]) { tx.show(0) })
	m.update(func(tx tx[T]) { tx.show(1) })
	m.wantLive("a", "")
	m.update(func(tx tx[T]) { tx.show(0) })
	m.wantNoneLive()
	m.update(func(tx tx[T]) { tx.drop(1) })
	m.wantMissing(1)
	m.wantNoneLive()
}

// Readers see a generation as it is when it is shown, and never a part of what a
// transaction does.
func shownWhole[T any](m *model[T]) {
	const last = 4
	m.begin()
	read, stop := m.reading()
	for g := uint64(2); g <= last; g++ {
		m.update(func(tx tx[T]) {
			tx.create(g)
			tx.putData(g, "a", "part of a new one")
		})
		m.update(func(tx tx[T]) {
			tx.putData(g-1, "a", "part of an old one")
			read()
			tx.show(g)
			read()
			tx.drop(g - 1)
			tx.putData(g, "a", fmt.Sprintf("whole %d", g))
			read()
		})
		read()
	}
	stop()
	m.wantLive("a", fmt.Sprintf("whole %d", last))
}

// reading returns a function that lets a reader read, or wait for a moment if it has
// to, and one that ends the reader.
func (m *model[T]) reading() (read, stop func()) {
	ctx, cancel := m.context()
	var reader sync.WaitGroup
	ended, looked := make(chan struct{}), make(chan struct{})
	reader.Go(func() {
		for {
			got, err := m.Live(ctx, name, "a")
			if err != nil || strings.HasPrefix(got, "part") || got == "" {
				m.Errorf("beside a transaction readers see %q, %v", got, err)
			}
			select {
			case looked <- struct{}{}:
			case <-ended:
				return
			}
		}
	})
	read = func() {
		if within(looked) { // it may have looked before
			within(looked)
		}
	}
	return read, func() { close(ended); reader.Wait(); cancel() }
}

func dropped[T any](m *model[T]) {
	m.begin()
	m.update(func(tx tx[T]) {
		tx.create(2)
		tx.create(3)
		tx.putData(3, "a", "three")
	})
	m.update(func(tx tx[T]) {
		tx.drop(2)
		if _, err := tx.Data(2); !errors.Is(err, projection.ErrNoGeneration) {
			tx.m.Errorf("the data of a generation that was dropped is %v", err)
		}
	})
	m.wantMissing(2)
	m.wantData(1, "a", "one")
	m.wantData(3, "a", "three")
	m.wantLive("a", "one")
	m.update(func(tx tx[T]) {
		tx.show(3)
		tx.drop(1)
	})
	m.wantMissing(1)
	m.wantLive("a", "three")
}

// A number whose creation was undone, or that was dropped, may come again.
func droppedAndMade[T any](m *model[T]) {
	m.begin()
	m.undo(func(tx tx[T]) {
		tx.create(2)
		tx.putData(2, "a", "undone")
	})
	m.update(func(tx tx[T]) {
		tx.create(2)
		tx.wantData(2, "a", "")
		tx.putData(2, "a", "two")
	})
	m.update(func(tx tx[T]) { tx.drop(2) })
	m.update(func(tx tx[T]) { tx.create(2) })
	m.wantData(2, "a", "")
	m.wantLive("a", "one")
}

func apart[T any](m *model[T]) {
	const other = "sales2"
	m.begin()
	m.update(func(tx tx[T]) { tx.put("generation/1", "one") })
	m.wantOf(other, "projection", "")
	m.recordsOf(other, func(r projection.Records) error {
		all, err := r.List("")
		m.compare("", all, nil)
		return err
	})
	if m.Model.Traits().Outside {
		m.updateOf(other, func(tx tx[T]) {
			tx.want("projection", "")
			tx.put("projection", "of another")
		})
		m.want("projection", "one")
		m.updateOf(other, func(tx tx[T]) { tx.remove("projection") })
		m.want("projection", "one")
		return
	}
	m.updateOf(other, func(tx tx[T]) {
		tx.want("projection", "")
		tx.put("projection", "of another")
		tx.create(1)
		tx.wantData(1, "a", "")
		tx.putData(1, "a", "of another")
		tx.create(2)
		tx.show(1)
	})
	m.want("projection", "one")
	m.wantLive("a", "one")
	m.wantLiveOf(other, "a", "of another")
	m.wantMissing(2)
	m.updateOf(other, func(tx tx[T]) {
		tx.show(2)
		tx.drop(1)
		tx.remove("projection")
	})
	m.want("projection", "one")
	m.wantLive("a", "one")
}

func lasts[T any](m *model[T]) {
	outside := m.Model.Traits().Outside
	m.begin()
	m.update(func(tx tx[T]) {
		tx.put("generation/1", "one")
		if !outside {
			tx.create(2)
			tx.putData(2, "a", "two")
			tx.show(2)
		}
	})
	m.undo(func(tx tx[T]) { tx.put("generation/2", "undone") })
	m.close()
	m.Fixture = m.Again(m.T)
	m.wantList("", map[string]string{"projection": "one", "generation/1": "one"})
	if outside {
		return
	}
	m.wantLive("a", "two")
	m.wantData(1, "a", "one")
	m.wantMissing(3)
	m.update(func(tx tx[T]) {
		tx.show(1)
		tx.drop(2)
	})
	m.wantLive("a", "one")
}

// Two processes that use a model are as two transactions of one.
func twoProcesses[T any](m *model[T]) {
	other := &model[T]{m.T, m.Again(m.T)}
	defer other.close()
	m.Run("change a record", func(t *testing.T) { m.on(t).countWith(other.on(t)) })
	m.Run("make a record", func(t *testing.T) { m.on(t).makeWith(other.on(t)) })
	if m.Model.Traits().Outside {
		return
	}
	m.Run("change what readers see", func(t *testing.T) {
		m, other := m.on(t), other.on(t)
		m.begin()
		other.wantLive("a", "one")
		other.update(func(tx tx[T]) {
			tx.create(2)
			tx.putData(2, "a", "two")
			tx.show(2)
			tx.drop(1)
		})
		m.wantLive("a", "two")
		m.wantMissing(1)
		m.wantData(2, "a", "two")
	})
}

func (m *model[T]) on(t *testing.T) *model[T] { return &model[T]{t, m.Fixture} }
