package order_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
)

var (
	wanted = time.Date(2026, time.March, 16, 0, 0, 0, 0, time.UTC)

	chai = order.Item{Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 2}
	tofu = order.Item{Product: "Tofu", UnitPrice: 2325 * order.Cent, Quantity: 1, Discount: 5}

	placed    = order.Placed{Customer: "ALFKI", Required: wanted}
	onAccount = order.Placed{Customer: "ALFKI", Required: wanted, OnAccount: true}
	paid      = order.Paid{Amount: 36_0000}
	shipped   = order.Shipped{}
	cancelled = order.Cancelled{}

	byCard = order.Placed{Customer: "ALFKI", Required: wanted, Card: "tok-1"}
	free   = order.Item{Product: "Leaflet", Quantity: 1}

	longest = strings.Repeat("x", order.MaxText)
)

type events = []order.Event

type command interface {
	Decide(order.Order) ([]order.Event, error)
}

func line(number int, item order.Item) order.Event {
	return order.LineAdded{Line: order.Line{Number: number, Item: item}}
}

func place(items ...order.Item) command {
	return order.Place{Customer: "ALFKI", Required: wanted, Lines: items}
}

func withCard(c order.Place) command {
	c.Customer, c.Required, c.Card = "ALFKI", wanted, "tok-1"
	return c
}

func TestCommands(t *testing.T) {
	t.Parallel()
	// What most histories begin with.
	open := events{placed, line(1, chai)}
	with := func(more ...order.Event) events { return append(open[:2:2], more...) }

	for _, test := range []struct {
		name  string
		given events
		when  command
		then  events
		err   error
	}{
		{name: "place", when: place(chai, tofu), then: events{placed, line(1, chai), line(2, tofu)}},
		{name: "place on account", when: order.Place{Customer: "ALFKI", Required: wanted, OnAccount: true, Lines: []order.Item{tofu}},
			then: events{onAccount, line(1, tofu)}},
		{name: "place twice", given: open, when: place(tofu), err: order.ErrAlreadyPlaced},
		{name: "place again what was cancelled", given: with(cancelled), when: place(tofu), err: order.ErrAlreadyPlaced},
		{name: "place without a customer", when: order.Place{Lines: []order.Item{chai}}, err: order.ErrNoCustomer},
		{name: "place without lines", when: place(), err: order.ErrNoLines},
		{name: "place with a bad line", when: place(chai, order.Item{}), err: order.ErrNoProduct},
		{name: "place with a card", when: withCard(order.Place{Lines: []order.Item{chai}}), then: events{byCard, line(1, chai)}},
		{name: "place on account with a card", when: withCard(order.Place{OnAccount: true, Lines: []order.Item{chai}}), err: order.ErrCardOnAccount},
		{name: "place what is free", when: place(free), then: events{placed, line(1, free)}},
		{name: "place what is free with a card", when: withCard(order.Place{Lines: []order.Item{free, free}}), err: order.ErrNothingToPay},
		{name: "place with long texts", when: order.Place{Customer: longest, Card: longest, Lines: []order.Item{{Product: longest, UnitPrice: order.Cent, Quantity: 1}}},
			then: events{order.Placed{Customer: longest, Card: longest}, line(1, order.Item{Product: longest, UnitPrice: order.Cent, Quantity: 1})}},
		{name: "place for a customer too long", when: order.Place{Customer: longest + "x", Lines: []order.Item{chai}}, err: order.ErrTooLong},
		{name: "place with a card too long", when: order.Place{Customer: "A", Card: longest + "x", Lines: []order.Item{chai}}, err: order.ErrTooLong},
		{name: "place with a product too long", when: place(order.Item{Product: longest + "x", Quantity: 1}), err: order.ErrTooLong},
		{name: "place more than money can count", when: place(fortune(1), fortune(1)), err: order.ErrTooLarge},

		{name: "add", given: open, when: order.AddLine{Item: tofu}, then: events{line(2, tofu)}},
		{name: "add the same again", given: open, when: order.AddLine{Item: chai}, then: events{line(2, chai)}},
		{name: "add: numbers are not used again", given: with(line(2, tofu), order.LineRemoved{Number: 2}),
			when: order.AddLine{Item: tofu}, then: events{line(3, tofu)}},
		{name: "add to nothing", when: order.AddLine{Item: tofu}, err: order.ErrNotPlaced},
		{name: "add to paid", given: with(paid), when: order.AddLine{Item: tofu}, err: order.ErrPaid},
		{name: "add to shipped", given: with(paid, shipped), when: order.AddLine{Item: tofu}, err: order.ErrShipped},
		{name: "add to cancelled", given: with(cancelled), when: order.AddLine{Item: tofu}, err: order.ErrCancelled},
		{name: "add a bad line", given: open, when: order.AddLine{}, err: order.ErrNoProduct},
		{name: "add more than money can count", given: events{placed, line(1, fortune(1))},
			when: order.AddLine{Item: fortune(1)}, err: order.ErrTooLarge},

		{name: "remove", given: with(line(2, tofu)), when: order.RemoveLine{Number: 1}, then: events{order.LineRemoved{Number: 1}}},
		{name: "remove the last", given: open, when: order.RemoveLine{Number: 1}, err: order.ErrNoLines},
		{name: "remove what is not there", given: open, when: order.RemoveLine{Number: 2}, err: order.ErrNoSuchLine},
		{name: "remove twice", given: with(line(2, tofu), order.LineRemoved{Number: 1}), when: order.RemoveLine{Number: 1}, err: order.ErrNoSuchLine},
		{name: "remove from nothing", when: order.RemoveLine{Number: 1}, err: order.ErrNotPlaced},
		{name: "remove from paid", given: with(line(2, tofu), paid), when: order.RemoveLine{Number: 1}, err: order.ErrPaid},
		{name: "remove from shipped", given: events{onAccount, line(1, chai), line(2, tofu), shipped}, when: order.RemoveLine{Number: 1}, err: order.ErrShipped},
		{name: "remove from cancelled", given: with(line(2, tofu), cancelled), when: order.RemoveLine{Number: 1}, err: order.ErrCancelled},

		{name: "pay", given: open, when: order.Pay{}, then: events{paid}},
		{name: "pay what is ordered by then", given: with(line(2, tofu)), when: order.Pay{}, then: events{order.Paid{Amount: 58_0875}}},
		{name: "pay an invoice", given: events{onAccount, line(1, chai), shipped}, when: order.Pay{}, then: events{paid}},
		{name: "pay what it amounts to", given: open, when: order.Pay{Amount: 36_0000}, then: events{paid}},
		{name: "pay less", given: open, when: order.Pay{Amount: 35_9999}, err: order.ErrAmount},
		{name: "pay what it amounted to before", given: with(line(2, tofu)), when: order.Pay{Amount: 36_0000}, err: order.ErrAmount},
		{name: "pay twice, another amount", given: with(paid), when: order.Pay{Amount: 1}, err: order.ErrPaid},
		{name: "pay twice", given: with(paid), when: order.Pay{}, err: order.ErrPaid},
		{name: "pay nothing", when: order.Pay{}, err: order.ErrNotPlaced},
		{name: "pay cancelled", given: with(cancelled), when: order.Pay{}, err: order.ErrCancelled},

		{name: "ship", given: with(paid), when: order.Ship{}, then: events{shipped}},
		{name: "ship on account", given: events{onAccount, line(1, chai)}, when: order.Ship{}, then: events{shipped}},
		{name: "ship unpaid", given: open, when: order.Ship{}, err: order.ErrNotPaid},
		{name: "ship twice", given: with(paid, shipped), when: order.Ship{}, err: order.ErrShipped},
		{name: "ship nothing", when: order.Ship{}, err: order.ErrNotPlaced},
		{name: "ship cancelled", given: with(paid, cancelled), when: order.Ship{}, err: order.ErrCancelled},

		{name: "cancel", given: open, when: order.Cancel{Reason: "late"}, then: events{order.Cancelled{Reason: "late"}}},
		{name: "cancel for a long reason", given: open, when: order.Cancel{Reason: longest}, then: events{order.Cancelled{Reason: longest}}},
		{name: "cancel for a reason too long", given: open, when: order.Cancel{Reason: longest + "x"}, err: order.ErrTooLong},
		{name: "cancel paid", given: with(paid), when: order.Cancel{}, then: events{cancelled}},
		{name: "cancel twice", given: with(cancelled), when: order.Cancel{}, err: order.ErrCancelled},
		{name: "cancel nothing", when: order.Cancel{}, err: order.ErrNotPlaced},
		{name: "cancel shipped", given: with(paid, shipped), when: order.Cancel{}, err: order.ErrShipped},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.when.Decide(fold(test.given))
			if !errors.Is(err, test.err) || test.err == nil && err != nil {
				t.Errorf("error: %v, want %v", err, test.err)
			}
			if !reflect.DeepEqual(got, test.then) {
				t.Errorf("events: %v, want %v", got, test.then)
			}
		})
	}
}

func fold(given events) (o order.Order) {
	for _, e := range given {
		o = o.Evolve(e)
	}
	return o
}

// fortune is an item of more than half of what Money can count.
func fortune(quantity int64) order.Item {
	return order.Item{Product: "Moon", UnitPrice: math.MaxInt64 / 100 / 100 * 51 * order.Cent, Quantity: quantity}
}

func TestItemRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		item       order.Item
		gross, net order.Money
		err        error
	}{
		{name: "plain", item: order.Item{UnitPrice: 14_0000, Quantity: 3}, gross: 42_0000, net: 42_0000},
		{name: "discount", item: order.Item{UnitPrice: 4_1500, Quantity: 3, Discount: 5}, gross: 12_4500, net: 11_8275},
		{name: "a cent, less 1%", item: order.Item{UnitPrice: order.Cent, Quantity: 1, Discount: 1}, gross: 100, net: 99},
		{name: "99%", item: order.Item{UnitPrice: order.Cent, Quantity: 1, Discount: 99}, gross: 100, net: 1},
		{name: "free", item: order.Item{Quantity: 1}},
		{name: "none", item: order.Item{UnitPrice: 14_0000}, err: order.ErrQuantity},
		{name: "negative quantity", item: order.Item{UnitPrice: 14_0000, Quantity: -1}, err: order.ErrQuantity},
		{name: "negative price", item: order.Item{UnitPrice: -order.Cent, Quantity: 1}, err: order.ErrPrice},
		{name: "part of a cent", item: order.Item{UnitPrice: 14_0001, Quantity: 1}, err: order.ErrPrice},
		{name: "negative discount", item: order.Item{Quantity: 1, Discount: -1}, err: order.ErrDiscount},
		{name: "100%", item: order.Item{Quantity: 1, Discount: 100}, err: order.ErrDiscount},
		{name: "too much", item: fortune(2), err: order.ErrTooLarge},
		{name: "most", item: order.Item{UnitPrice: math.MaxInt64 / 100 * 100, Quantity: 1, Discount: 99},
			gross: math.MaxInt64 / 100 * 100, net: math.MaxInt64 / 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gross, net, err := test.item.Amounts()
			if gross != test.gross || net != test.net || !errors.Is(err, test.err) || test.err == nil && err != nil {
				t.Errorf("%s, %s, %v, want %s, %s, %v", gross, net, err, test.gross, test.net, test.err)
			}
		})
	}
}
