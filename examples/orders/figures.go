package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// figures is what the report says. reportUsage says what is counted.
type figures struct {
	Orders       int        `json:"orders"`
	Lines        int        `json:"lines"`
	Customers    int        `json:"customers"`
	Shipped      int        `json:"shipped"`
	Open         int        `json:"open"`
	Late         int        `json:"late"`
	GrossRevenue string     `json:"grossRevenue"`
	NetRevenue   string     `json:"netRevenue"`
	Top          []topEntry `json:"top"`
}

type topEntry struct {
	Customer string `json:"customer"`
	Net      string `json:"net"`
}

// topLength is how many of the best customers the report names.
const topLength = 5

// record is an order and what the report needs to know beside its state.
type record struct {
	order   order.Order
	shipped time.Time
}

// figures folds the whole log, which is the simplest way to ask a question
// about all orders. It costs more the longer the log becomes; a projection
// answers from what it keeps up to date.
func (s *shop) figures(ctx context.Context) (*figures, error) {
	records := make(map[string]record)
	for e, err := range s.log.Log(ctx, 0, nil) {
		if err != nil {
			return nil, err
		}
		if e.Stream.Kind != order.Kind {
			continue
		}
		r, err := records[e.Stream.ID].after(e)
		if err != nil {
			return nil, err
		}
		records[e.Stream.ID] = r
	}
	return count(records)
}

func (r record) after(e eventstore.Event) (record, error) {
	event, err := order.Codec.Decode(e)
	if err != nil {
		return r, err
	}
	if _, ok := event.(order.Shipped); ok {
		r.shipped = e.Time
	}
	r.order = r.order.Evolve(event)
	return r, nil
}

// late reports whether the order was shipped on a day after the required one.
func (r record) late() bool {
	return r.order.Shipped && r.shipped.Truncate(24*time.Hour).After(r.order.Required)
}

func count(records map[string]record) (*figures, error) {
	f := &figures{Orders: len(records)}
	var gross, net order.Money
	nets := make(map[string]order.Money) // by customer
	customers := make(map[string]bool)
	for _, r := range records {
		f.add(r)
		customers[r.order.Customer] = true
		if r.order.Cancelled {
			continue
		}
		g, n, err := r.order.Amounts()
		if err != nil {
			return nil, err
		}
		if gross, err = gross.Plus(g); err != nil {
			return nil, err
		}
		net += n // at most gross, here and for each customer
		nets[r.order.Customer] += n
	}
	f.Customers = len(customers)
	f.GrossRevenue, f.NetRevenue = gross.Fixed(2), net.Fixed(4)
	f.Top = top(nets)
	return f, nil
}

func (f *figures) add(r record) {
	f.Lines += len(r.order.Lines)
	switch {
	case r.order.Shipped:
		f.Shipped++
	case !r.order.Cancelled:
		f.Open++
	}
	if r.late() {
		f.Late++
	}
}

// top returns the best customers, of the same amount in alphabetical order.
func top(nets map[string]order.Money) []topEntry {
	customers := make([]string, 0, len(nets))
	for c := range nets {
		customers = append(customers, c)
	}
	slices.SortFunc(customers, func(a, b string) int {
		return cmp.Or(cmp.Compare(nets[b], nets[a]), cmp.Compare(a, b))
	})
	entries := []topEntry{} // in JSON: [], not null
	for _, c := range customers[:min(topLength, len(customers))] {
		entries = append(entries, topEntry{c, nets[c].Fixed(4)})
	}
	return entries
}
