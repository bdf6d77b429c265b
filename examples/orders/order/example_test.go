package order_test

import (
	"fmt"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// A command decides on what the events so far amount to. No store is needed.
func Example() {
	var o order.Order
	for _, e := range []order.Event{
		order.Placed{Customer: "ALFKI"},
		order.LineAdded{Line: order.Line{Number: 1, Item: order.Item{
			Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 2,
		}}},
	} {
		o = o.Evolve(e)
	}

	_, err := order.Ship{}.Decide(o)
	fmt.Println(err)

	events, err := order.Pay{}.Decide(o)
	fmt.Println(events, err)
	// Output:
	// the order is not paid
	// [{36.00}] <nil>
}
