package main

import (
	"cmp"
	"slices"

	"github.com/headwater-go/headwater/examples/orders/order"
	"go.etcd.io/bbolt"
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

// figures adds up what the read models hold. To fold the whole log for a question
// would cost more the longer that becomes.
func (m *models) figures() (*figures, error) {
	f := &figures{}
	for _, r := range readModels {
		err := m.file.View(r.name, func(b *bbolt.Bucket) error { return r.report(f, b) })
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *figures) readDays(b *bbolt.Bucket) error {
	var all sales
	err := each(b, salesPrefix, func(_ string, day sales) error { return all.add(day) })
	f.Orders, f.Lines = all.Orders, all.Lines
	f.GrossRevenue, f.NetRevenue = all.Gross.Fixed(2), all.Net.Fixed(4)
	return err
}

func (f *figures) readCustomers(b *bbolt.Bucket) error {
	nets := make(map[string]order.Money)
	err := each(b, salesPrefix, func(customer string, s sales) error {
		f.Customers++
		if s.Orders > s.Cancelled {
			nets[customer] = s.Net
		}
		return nil
	})
	f.Top = top(nets)
	return err
}

func (f *figures) readOpen(b *bbolt.Bucket) error {
	return each(b, openPrefix, func(string, openOrder) error {
		f.Open++
		return nil
	})
}

func (f *figures) readLate(b *bbolt.Bucket) (err error) {
	if f.Shipped, _, err = get[int](b, shippedKey); err != nil {
		return err
	}
	return each(b, latePrefix, func(string, delivery) error {
		f.Late++
		return nil
	})
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
