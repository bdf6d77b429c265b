package modeltest

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/headwater-go/headwater/projection"
)

// meeting is where goroutines wait for each other, but only for a moment: one of them
// may have to wait for the other's transaction.
type meeting struct {
	mu      sync.Mutex
	missing int
	all     chan struct{}
}

func meetingOf(n int) *meeting { return &meeting{missing: n, all: make(chan struct{})} }

func (m *meeting) come() {
	m.mu.Lock()
	if m.missing--; m.missing == 0 {
		close(m.all)
	}
	m.mu.Unlock()
	within(m.all)
}

// within reports whether there is something in a channel, or it is closed, in a moment.
func within(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(moment):
		return false
	}
}

func countedBoth[T any](m *model[T]) { m.countWith(m) }

// countWith counts in two transactions at a time, each in a model.
func (m *model[T]) countWith(other *model[T]) {
	const rounds = 5
	m.update(func(tx tx[T]) { tx.put("counter", "0") })
	done := 0
	for range rounds {
		met := meetingOf(2)
		first, second := both(
			func() error { return m.try(count[T](met)) },
			func() error { return other.try(count[T](met)) },
		)
		for _, err := range []error{first, second} {
			if err == nil {
				done++
			}
		}
		if first != nil && second != nil {
			m.Errorf("of two transactions both failed: %v; %v", first, second)
		}
	}
	m.want("counter", strconv.Itoa(done))
}

// both runs two functions at the same time.
func both(f, g func() error) (first, second error) {
	var running sync.WaitGroup
	running.Go(func() { first = f() })
	running.Go(func() { second = g() })
	running.Wait()
	return first, second
}

// count adds one to the counter, after another one has read it too, if that can be.
func count[T any](met *meeting) func(projection.Tx[T]) error {
	return func(tx projection.Tx[T]) error {
		value, err := tx.Get("counter")
		if err != nil {
			return err
		}
		met.come()
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return err
		}
		return tx.Put("counter", strconv.AppendInt(nil, int64(n)+1, 10))
	}
}

func madeOnce[T any](m *model[T]) { m.makeWith(m) }

var errThere = errors.New("it is there")

// makeWith makes a record in two transactions at a time, if it is not there.
func (m *model[T]) makeWith(other *model[T]) {
	met := meetingOf(2)
	create := func(value string) func(projection.Tx[T]) error {
		return func(tx projection.Tx[T]) error {
			got, err := tx.Get("projection")
			if err != nil {
				return err
			}
			if got != nil {
				return errThere
			}
			met.come()
			return tx.Put("projection", []byte(value))
		}
	}
	first, second := both(
		func() error { return m.try(create("first")) },
		func() error { return other.try(create("second")) },
	)
	switch {
	case first == nil && second == nil:
		m.Error("two transactions have made the same record")
	case first != nil && second != nil:
		m.Errorf("of two transactions both failed: %v; %v", first, second)
	case first == nil:
		m.want("projection", "first")
	default:
		m.want("projection", "second")
	}
}

func stays[T any](m *model[T]) {
	m.update(func(tx tx[T]) { tx.put("projection", "before") })
	m.intrude("before")
}

func staysAway[T any](m *model[T]) { m.intrude("") }

// intrude changes a record that a transaction has read.
func (m *model[T]) intrude(before string) {
	var intruder sync.WaitGroup
	done := make(chan struct{})
	var intruded error
	early := false
	err := m.try(func(inner projection.Tx[T]) error {
		tx := tx[T]{inner, m, new(error)}
		tx.want("projection", before)
		intruder.Go(func() {
			defer close(done)
			intruded = m.try(func(tx projection.Tx[T]) error { return tx.Put("projection", []byte("intruder")) })
		})
		early = within(done) && intruded == nil
		tx.want("projection", before)
		tx.put("generation/1", "made from "+before)
		return *tx.err
	})
	intruder.Wait()
	if early && err == nil {
		m.Error("a record that a transaction has read was changed before it ended, and it was committed")
	}
	if intruded == nil {
		m.want("projection", "intruder")
	}
}

// Readers of records see what was before a transaction, or wait for it.
func uncommitted[T any](m *model[T]) {
	m.update(func(tx tx[T]) { tx.put("projection", "before") })
	var reader sync.WaitGroup
	done := make(chan struct{})
	ctx, cancel := m.context()
	defer cancel()
	var got []byte
	var wrong error
	early := false
	m.update(func(tx tx[T]) {
		tx.put("projection", "after")
		reader.Go(func() {
			defer close(done)
			wrong = m.Model.Records(ctx, name, func(r projection.Records) (err error) {
				got, err = r.Get("projection")
				return err
			})
		})
		early = within(done)
	})
	reader.Wait()
	if wrong != nil {
		m.Fatalf("records, beside a transaction: %v", wrong)
	}
	if early && string(got) != "before" {
		m.Errorf("a record is %q before the transaction that puts that ends", got)
	}
	m.want("projection", "after")
}

// Who reads records sees them as they are at one moment. Others who change them
// need not wait for it, unless the model lets nobody write meanwhile.
func oneMoment[T any](m *model[T]) {
	write := func(value string) error {
		return m.try(func(tx projection.Tx[T]) error {
			return errors.Join(tx.Put("generation/1", []byte(value)), tx.Put("projection", []byte(value)))
		})
	}
	if err := write("before"); err != nil {
		m.Fatal(err)
	}
	var writer sync.WaitGroup
	var wrong error
	done := make(chan struct{})
	m.records(func(r projection.Records) error {
		first, err := r.Get("projection")
		if err != nil {
			return err
		}
		writer.Go(func() {
			defer close(done)
			wrong = write("after")
		})
		within(done)
		second, err := r.Get("generation/1")
		if string(first) != string(second) {
			m.Errorf("of two records that were changed together one is %q and the other one %q", first, second)
		}
		return err
	})
	writer.Wait()
	if wrong != nil {
		m.Errorf("a transaction beside a reader: %v", wrong)
	}
	m.want("projection", "after")
}
