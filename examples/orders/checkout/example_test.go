package checkout_test

import (
	"fmt"
	"time"

	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// The deadline is over, and then the payment is authorised after all. It is not
// captured.
func Example() {
	var c checkout.Checkout
	tell := func(command interface {
		Decide(checkout.Checkout) ([]checkout.Event, error)
	}) {
		events, _ := command.Decide(c)
		for _, e := range events {
			c = c.Evolve(e)
			fmt.Println(e.EventType())
		}
	}
	tell(checkout.Begin{Amount: 1800 * order.Cent, Card: "tok-1", Deadline: time.Now().Add(time.Minute)})
	tell(checkout.Expired{})
	tell(checkout.Authorised{})
	tell(checkout.OrderCancelled{})
	tell(checkout.Voided{})
	// Output:
	// checkout.payment-wanted
	// checkout.cancel-wanted
	// checkout.order-closed
	// checkout.void-wanted
	// checkout.money-free
	// checkout.failed
}
