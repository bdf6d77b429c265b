package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// The names of the read models, and of the projections that keep them up to date.
const (
	byDay      = "sales-by-day"
	byCustomer = "sales-by-customer"
	stillOpen  = "open-orders"
	wereLate   = "late-orders"
)

// readModels are the shop's: what keeps each up to date, what it adds to the
// report, and how it is listed.
var readModels = []struct {
	name     string
	handlers projection.Handlers[*bbolt.Bucket]
	report   func(*figures, *bbolt.Bucket) error
	list     func(io.Writer, *bbolt.Bucket) error
}{
	{byDay, salesByDay(), (*figures).readDays, listSales("day")},
	{byCustomer, salesByCustomer(), (*figures).readCustomers, listSales("customer")},
	{stillOpen, openOrders(), (*figures).readOpen, listOpen},
	{wereLate, lateOrders(), (*figures).readLate, listLate},
}

// decoded is the handler of an event that a read model has no use for. It is there so
// that the event is decoded: an order with one that cannot be is then missing in all
// read models, which are asked together, and not in some.
func decoded[E order.Event](context.Context, *bbolt.Bucket, E, projection.Event) error { return nil }

// models are the read models of a shop, in a file beside the log. It can be
// removed: they are made anew from the log then.
type models struct {
	log         *eventstore.Store
	file        *projection.File
	projections map[string]*projection.Projection[*bbolt.Bucket]
}

// openModels opens the read models. Close them before the shop.
func (s *shop) openModels(p policy) (*models, error) {
	file, err := projection.OpenFile(filepath.Join(s.server.Dir(), "read-models"))
	if err != nil {
		return nil, err
	}
	m := &models{log: s.log, file: file, projections: make(map[string]*projection.Projection[*bbolt.Bucket])}
	for _, r := range readModels {
		opts := &projection.Options{Poison: p.poison, Unknown: p.unknown}
		if m.projections[r.name], err = projection.New(r.name, s.log, file, r.handlers, opts); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return m, nil
}

// Close closes the file.
func (m *models) Close() error { return m.file.Close() }

// start keeps the read models up to date until stop is called. If one cannot be,
// those who wait for it are told.
func (m *models) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, p := range m.projections {
		running.Go(func() { _ = p.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// catchUp brings the read models to where the log ends.
func (m *models) catchUp(ctx context.Context) error {
	for _, r := range readModels {
		if err := m.projections[r.name].CatchUp(ctx); err != nil {
			return m.whatToDo(err)
		}
	}
	return nil
}

// whatToDo adds to an error what can be done.
func (m *models) whatToDo(err error) error {
	var stopped *projection.StoppedError
	switch {
	case errors.Is(err, projection.ErrOtherLog):
		return fmt.Errorf("%w; it is in the file %s", err, m.file.Path())
	case !errors.As(err, &stopped):
		return err
	}
	way := "A program that can handle it goes on from there. With -on-poison park the order\n" +
		"is left out from there on, and 'orders parked' lists it."
	if errors.Is(err, eventstore.ErrUnknownType) {
		way += " With -on-unknown ignore events\nof unknown type are passed over."
	}
	return fmt.Errorf("order %s: %w\n%s", stopped.Stream.ID, err, way)
}

// parked returns the orders that a read model lacks something of.
func (m *models) parked(ctx context.Context) (ids []string, err error) {
	for _, r := range readModels {
		list, err := m.projections[r.name].Parked(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			ids = append(ids, p.Stream.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// visitModels opens the read models of the shop in a folder. The function that it
// returns closes both.
func visitModels(ctx context.Context, dir string, p policy) (*models, func() error, error) {
	s, err := visitShop(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.openModels(p)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return m, func() error { return errors.Join(m.Close(), s.Close()) }, nil
}

// look lets f look at the read models of the shop in a folder, as they are where
// the log ends. If something is left out it says so.
func look(ctx context.Context, c console, dir string, p policy, f func(*models) error) (err error) {
	m, closeAll, err := visitModels(ctx, dir, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err := m.catchUp(ctx); err != nil {
		return err
	}
	ids, err := m.parked(ctx)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		fmt.Fprintf(c.err, "orders: parked, and left out from there on: %s; see 'orders parked'\n", strings.Join(ids, ", "))
	}
	return f(m)
}
