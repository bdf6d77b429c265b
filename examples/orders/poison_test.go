package main_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
)

// Events that this program cannot handle.
var (
	placed    = eventstore.EventData{Type: "order.placed", Data: []byte(`{"customer":"CHOPS","required":"1996-08-09T00:00:00Z"}`)}
	lineAdded = eventstore.EventData{Type: "order.line-added", Data: []byte(`{"number":9,"product":"Tofu","unitPrice":"23.25","quantity":2}`)}
	malformed = eventstore.EventData{Type: "order.line-added", Data: []byte(`{"number":`)}
	worthless = eventstore.EventData{Type: "order.line-added", Data: []byte(`{"number":9,"product":"Tofu","unitPrice":"23.25"}`)}
	wrapped   = eventstore.EventData{Type: "order.gift-wrapped", Data: []byte(`{}`)}
	shipped   = eventstore.EventData{Type: "order.shipped", Data: []byte(`{}`)}
)

// oddities are what happened to an order that other programs also write to, a
// commit each: one of them cannot be handled.
var oddities = []struct {
	name    string
	id      string
	commits [][]eventstore.EventData
	bad     int // index of it
	reason  string
}{
	{"data of an order's later event", "3", [][]eventstore.EventData{{lineAdded}, {malformed}, {shipped}}, 1,
		`stream order/3, version 4: event of type "order.line-added": unexpected end of JSON input`},
	{"data of an order's first commit", "4", [][]eventstore.EventData{{placed, malformed}, {lineAdded}, {shipped}}, 0,
		`stream order/4, version 2: event of type "order.line-added": unexpected end of JSON input`},
	{"a line that the rules forbid", "3", [][]eventstore.EventData{{worthless}}, 0,
		"a quantity must be more than 0"},
	{"unknown type", "3", [][]eventstore.EventData{{lineAdded}, {wrapped}, {shipped}}, 1,
		`stream order/3, version 4: event of type "order.gift-wrapped": unknown event type: the codec was not made with it`},
}

// oddShop returns a folder with the three orders and an oddity, and the position
// of the commit that cannot be handled.
func oddShop(t *testing.T, id string, commits [][]eventstore.EventData, bad int) (dir string, position uint64) {
	t.Helper()
	dir = smallShop(t)
	onLog(t, dir, func(log *eventstore.Store) {
		stream := eventstore.StreamID{Kind: order.Kind, ID: id}
		for i, events := range commits {
			at, err := log.Append(t.Context(), stream, eventstore.Any, events, nil)
			if err != nil {
				t.Fatal(err)
			}
			if i == bad {
				position = at.Position
			}
		}
	})
	return dir, position
}

func TestPoison(t *testing.T) {
	t.Parallel()
	for _, odd := range oddities {
		t.Run(odd.name, func(t *testing.T) {
			t.Parallel()
			dir, position := oddShop(t, odd.id, odd.commits, odd.bad)
			for range 2 {
				requireStopped(t, odd.reason, odd.id, position, "report", "-data", dir)
			}
			behind := func(e eventstore.Event) bool { return e.Stream.ID == odd.id && e.Position >= position }
			requireParked(t, folded(t, dir, behind), odd.id, dir, "-on-poison", "park")
			requireParked(t, folded(t, dir, behind), odd.id, dir) // it stays so
			requireDiscarded(t, dir, odd.id, position)
		})
	}
}

// requireStopped fails the test unless a command fails for an order, and says
// what to do.
func requireStopped(t *testing.T, reason, id string, position uint64, args ...string) {
	t.Helper()
	r := run(args...)
	want := fmt.Sprintf("orders: order %s: projection sales-by-day stopped at position %d, order/%[1]s version ", id, position)
	if r.status != 1 || r.out != "" || !strings.HasPrefix(r.errors, want) {
		t.Errorf("exit status %d, printed %q, complained %q", r.status, r.out, r.errors)
	}
	requireContains(t, r.errors, reason+"\n", "-on-poison park", "'orders parked'")
}

// requireParked fails the test unless the report is that, and says that an order
// is parked.
func requireParked(t *testing.T, want figures, id, dir string, flags ...string) {
	t.Helper()
	r := run(append([]string{"report", "-json", "-data", dir}, flags...)...)
	if r.status != 0 || r.errors != "orders: parked, and left out from there on: "+id+"; see 'orders parked'\n" {
		t.Fatalf("exit status %d, complained %q", r.status, r.errors)
	}
	if got := parsed(t, r.out); !reflect.DeepEqual(got, want) {
		t.Errorf("the report is %+v\nwant %+v", got, want)
	}
}

// requireDiscarded discards the commit of a parked order that cannot be handled,
// and fails the test unless only that is left out then.
func requireDiscarded(t *testing.T, dir, id string, position uint64) {
	t.Helper()
	stream := eventstore.StreamID{Kind: order.Kind, ID: id}
	err := orders.Projections(t.Context(), dir, func(p projected) error {
		list, err := p.Parked(t.Context())
		if err != nil || len(list) == 0 {
			return err // it has no handler that fails
		}
		if len(list) != 1 || list[0].Stream != stream || list[0].Position != position {
			t.Errorf("parked in %s: %+v", p.Name(), list)
		}
		if err := p.Retry(t.Context(), stream); !errors.Is(err, projection.ErrParked) {
			t.Errorf("a retry of what is not mended: %v", err)
		}
		return p.Discard(t.Context(), stream)
	})
	if err != nil {
		t.Fatal(err)
	}
	bad := func(e eventstore.Event) bool { return e.Position == position }
	if got, want := reported(t, dir), folded(t, dir, bad); !reflect.DeepEqual(got, want) {
		t.Errorf("after it is discarded the report is %+v\nwant %+v", got, want)
	}
}

// An event of unknown type may be passed over; damaged data may not.
func TestUnknownIgnored(t *testing.T) {
	t.Parallel()
	for _, odd := range oddities {
		t.Run(odd.name, func(t *testing.T) {
			t.Parallel()
			dir, position := oddShop(t, odd.id, odd.commits, odd.bad)
			if odd.name != "unknown type" {
				requireStopped(t, odd.reason, odd.id, position, "report", "-on-unknown", "ignore", "-data", dir)
				return
			}
			unknown := func(e eventstore.Event) bool { return e.Type == wrapped.Type }
			if got, want := reported(t, dir, "-on-unknown", "ignore"), folded(t, dir, unknown); !reflect.DeepEqual(got, want) {
				t.Errorf("the report is %+v\nwant %+v", got, want)
			}
		})
	}
}
