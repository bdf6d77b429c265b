package order_test

import (
	"reflect"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// An order that somebody holds must not change when another one evolves from
// it, and two may evolve from the same.
func TestEvolveLeavesEarlierOrders(t *testing.T) {
	t.Parallel()
	base := fold(events{placed, line(1, chai), line(2, tofu), line(3, chai)})
	removed := base.Evolve(order.LineRemoved{Number: 1})
	added := base.Evolve(line(4, chai))
	other := base.Evolve(line(4, tofu))

	for _, test := range []struct {
		name  string
		order order.Order
		given events
	}{
		{"base", base, events{placed, line(1, chai), line(2, tofu), line(3, chai)}},
		{"removed", removed, events{placed, line(2, tofu), line(3, chai)}},
		{"added", added, events{placed, line(1, chai), line(2, tofu), line(3, chai), line(4, chai)}},
		{"other", other, events{placed, line(1, chai), line(2, tofu), line(3, chai), line(4, tofu)}},
	} {
		if want := fold(test.given); !reflect.DeepEqual(test.order, want) {
			t.Errorf("%s is %v, want %v", test.name, test.order, want)
		}
	}
}

// The stored form of events. Logs hold it: a change here needs code that still
// reads what was stored before.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		event order.Event
		name  string
		json  string
	}{
		{placed, "order.placed", `{"customer":"ALFKI","required":"2026-03-16T00:00:00Z"}`},
		{onAccount, "order.placed", `{"customer":"ALFKI","required":"2026-03-16T00:00:00Z","onAccount":true}`},
		{byCard, "order.placed", `{"customer":"ALFKI","required":"2026-03-16T00:00:00Z","card":"tok-1"}`},
		{line(1, chai), "order.line-added", `{"number":1,"product":"Chai","unitPrice":"18.00","quantity":2}`},
		{line(2, tofu), "order.line-added", `{"number":2,"product":"Tofu","unitPrice":"23.25","quantity":1,"discount":"0.05"}`},
		{order.LineRemoved{Number: 2}, "order.line-removed", `{"number":2}`},
		{order.Paid{Amount: 33_3375}, "order.paid", `{"amount":"33.3375"}`},
		{shipped, "order.shipped", `{}`},
		{cancelled, "order.cancelled", `{}`},
		{order.Cancelled{Reason: "late"}, "order.cancelled", `{"reason":"late"}`},
	} {
		data, err := order.Codec.Encode(test.event)
		if err != nil {
			t.Fatal(err)
		}
		if data.Type != test.name || string(data.Data) != test.json {
			t.Errorf("%v is stored as %s %s, want %s %s", test.event, data.Type, data.Data, test.name, test.json)
		}
		back, err := order.Codec.Decode(eventstore.Event{EventData: data})
		if err != nil || !reflect.DeepEqual(back, test.event) {
			t.Errorf("%s is read as %v, %v", data.Data, back, err)
		}
	}
}

func TestStage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		given events
		want  string
	}{
		{nil, ""},
		{events{placed}, order.StagePlaced},
		{events{placed, paid}, order.StagePaid},
		{events{placed, paid, shipped}, order.StageShipped},
		{events{onAccount, shipped}, order.StageShipped},
		{events{onAccount, shipped, paid}, order.StageShipped},
		{events{placed, cancelled}, order.StageCancelled},
		{events{placed, paid, cancelled}, order.StageCancelled},
	} {
		if got := fold(test.given).Stage(); got != test.want {
			t.Errorf("%v: stage %q, want %q", test.given, got, test.want)
		}
	}
	if o := fold(events{byCard, order.Cancelled{Reason: "late"}}); o.Card != "tok-1" || o.Reason != "late" {
		t.Errorf("the order is %+v", o)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []order.Event{placed, onAccount, line(2, tofu), paid, shipped, cancelled} {
		data, err := order.Codec.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data.Type, data.Data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		stored := eventstore.Event{EventData: eventstore.EventData{Type: name, Data: data}}
		event, err := order.Codec.Decode(stored)
		if err != nil {
			return
		}
		// Whatever can be read can be folded, and is stored as it is.
		fold(events{event, event}).Amounts()
		again, err := order.Codec.Encode(event)
		if err != nil {
			t.Skip(err) // a year that JSON cannot write
		}
		back, err := order.Codec.Decode(eventstore.Event{EventData: again})
		if err != nil || !reflect.DeepEqual(back, event) {
			t.Errorf("%#v is read as %#v, %v", event, back, err)
		}
	})
}
