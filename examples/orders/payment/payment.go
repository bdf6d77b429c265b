package payment

import "github.com/headwater-go/headwater/examples/orders/order"

// Payment is the state of a payment: what its events so far amount to. The zero
// Payment has no events.
type Payment struct {
	Requested bool
	Amount    order.Money
	Card      string // the provider's token

	Authorised bool
	Declined   bool
	Captured   bool
	Voided     bool
	Refunded   bool
}

// Evolve returns the payment after an event.
func (p Payment) Evolve(event Event) Payment {
	switch e := event.(type) {
	case Requested:
		p.Requested, p.Amount, p.Card = true, e.Amount, e.Card
	case Authorised:
		p.Authorised = true
	case Declined:
		p.Declined = true
	case Captured:
		p.Captured = true
	case Voided:
		p.Voided = true
	case Refunded:
		p.Refunded = true
	}
	return p
}

// Held returns what the customer has paid and not got back.
func (p Payment) Held() order.Money {
	if p.Captured && !p.Refunded {
		return p.Amount
	}
	return 0
}

// open returns why the payment is over, or is not there, nil if it is neither.
func (p Payment) open() error {
	switch {
	case !p.Requested:
		return ErrNotRequested
	case p.Declined:
		return ErrDeclined
	case p.Voided:
		return ErrVoided
	case p.Refunded:
		return ErrRefunded
	}
	return nil
}
