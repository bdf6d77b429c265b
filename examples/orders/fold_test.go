package main_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// onLog runs f on the log in a folder, while no program has it open.
func onLog(t *testing.T, dir string, f func(*eventstore.Store)) {
	t.Helper()
	server, err := embedded.Start(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventstore.Open(t.Context(), nc, "shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	f(log)
}

// record is an order and what the report needs to know beside its state.
type record struct {
	order   order.Order
	shipped time.Time
}

// folded returns the figures of the log in a folder without any read model, from
// the orders that its events make. Those events are left out that without picks;
// nil: none.
func folded(t *testing.T, dir string, without func(eventstore.Event) bool) figures {
	t.Helper()
	records := make(map[string]record)
	onLog(t, dir, func(log *eventstore.Store) {
		for e, err := range log.Log(t.Context(), 0, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Stream.Kind == order.Kind && (without == nil || !without(e)) {
				records[e.Stream.ID] = records[e.Stream.ID].after(t, e)
			}
		}
	})
	return count(t, records)
}

func (r record) after(t *testing.T, e eventstore.Event) record {
	t.Helper()
	event, err := order.Codec.Decode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := event.(order.Shipped); ok {
		r.shipped = e.Time
	}
	r.order = r.order.Evolve(event)
	return r
}

// late reports whether the order was shipped on a day after the required one.
func (r record) late() bool {
	return r.order.Shipped && r.shipped.Truncate(24*time.Hour).After(r.order.Required)
}

func count(t *testing.T, records map[string]record) (f figures) {
	t.Helper()
	var gross, net order.Money
	nets := make(map[string]order.Money) // by customer
	customers := make(map[string]bool)
	for _, r := range records {
		if !r.order.Placed {
			continue // its first commit is left out
		}
		f.add(r)
		customers[r.order.Customer] = true
		if r.order.Cancelled {
			continue
		}
		g, n, err := r.order.Amounts()
		if err != nil {
			t.Fatal(err)
		}
		gross += g
		net += n
		nets[r.order.Customer] += n
	}
	f.Customers = len(customers)
	f.GrossRevenue, f.NetRevenue = gross.Fixed(2), net.Fixed(4)
	f.Top = top(nets)
	return f
}

func (f *figures) add(r record) {
	f.Orders++
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

// top returns the five best customers, of the same amount in alphabetical order.
func top(nets map[string]order.Money) []best {
	customers := slices.SortedFunc(maps.Keys(nets), func(a, b string) int {
		return cmp.Or(cmp.Compare(nets[b], nets[a]), cmp.Compare(a, b))
	})
	entries := []best{}
	for _, c := range customers[:min(5, len(customers))] {
		entries = append(entries, best{c, nets[c].Fixed(4)})
	}
	return entries
}
