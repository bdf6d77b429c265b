package payment_test

import (
	"fmt"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
)

// A payment that became void before the provider answered stays so.
func Example() {
	var p payment.Payment
	for _, e := range []payment.Event{
		payment.Requested{Amount: 1800 * order.Cent, Card: "tok-1"},
		payment.Voided{Reason: "the order is cancelled"},
	} {
		p = p.Evolve(e)
	}

	_, err := payment.Authorise{}.Decide(p)
	fmt.Println(err)
	_, err = payment.Capture{}.Decide(p)
	fmt.Println(err)
	// Output:
	// the payment is void
	// the payment is void
}
