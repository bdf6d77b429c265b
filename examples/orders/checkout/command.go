package checkout

import (
	"strings"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// Begin says that the order was placed, and is to be paid with a card before the
// deadline.
type Begin struct {
	Amount   order.Money
	Card     string // the payment provider's token
	Deadline time.Time
}

// Decide returns PaymentWanted.
func (c Begin) Decide(state Checkout) ([]Event, error) {
	if state.Begun {
		return nil, nil
	}
	return []Event{PaymentWanted(c)}, nil
}

// PaymentRefused says that the payment cannot even be requested.
type PaymentRefused struct{ Reason string }

// Decide lets the order be cancelled.
func (c PaymentRefused) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Money != Open || state.Capture {
		return nil, nil
	}
	return state.learn(MoneyFree{explain("the payment was refused", c.Reason)}), nil
}

// Authorised says that the payment can be captured.
type Authorised struct{}

// Decide returns CaptureWanted, unless the order is given up.
func (Authorised) Decide(state Checkout) ([]Event, error) {
	if !state.undecided() {
		return nil, nil
	}
	return []Event{CaptureWanted{}}, nil
}

// Declined says that the payment takes no money.
type Declined struct{ Reason string }

// Decide lets the order be cancelled.
func (c Declined) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Money != Open {
		return nil, nil
	}
	return state.learn(MoneyFree{explain("the payment was declined", c.Reason)}), nil
}

// Captured says that the money is taken.
type Captured struct{ Amount order.Money }

// Decide lets the order take the payment, or the money be given back if the order is
// cancelled.
func (c Captured) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Money != Open {
		return nil, nil
	}
	return state.learn(MoneyTaken(c)), nil
}

// Voided says that no money will be taken.
type Voided struct{ Reason string }

// Decide lets the order be cancelled, if it is not.
func (c Voided) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Money != Open {
		return nil, nil
	}
	return state.learn(MoneyFree{explain("the payment was voided", c.Reason)}), nil
}

// Refunded says that the money was given back.
type Refunded struct{ Reason string }

// Decide lets the order be cancelled, if it is not.
func (c Refunded) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Money == Free {
		return nil, nil
	}
	return state.learn(MoneyFree{explain("the payment was refunded", c.Reason)}), nil
}

// Expired says that the deadline is over.
type Expired struct{}

// Decide lets the order be cancelled, unless the payment is on its way.
func (Expired) Decide(state Checkout) ([]Event, error) {
	if !state.undecided() {
		return nil, nil
	}
	return []Event{CancelWanted{"the payment was not authorised in time"}}, nil
}

// OrderPaid says that the order took the payment.
type OrderPaid struct{}

// Decide returns Done.
func (OrderPaid) Decide(state Checkout) ([]Event, error) {
	if !state.Pay || state.Done || state.Closed {
		return nil, nil
	}
	return []Event{Done{}}, nil
}

// PayRefused says that the order did not take the payment: it is cancelled, or
// amounts to something else by now.
type PayRefused struct{ Reason string }

// Decide lets the order be cancelled, and so the money be given back.
func (c PayRefused) Decide(state Checkout) ([]Event, error) {
	if !state.Pay || state.Done || state.Cancel || state.Closed || state.Kept || state.Money != Taken {
		return nil, nil
	}
	return []Event{CancelWanted{explain("the order did not take the payment", c.Reason)}}, nil
}

// OrderCancelled says that the order is cancelled, by whomever.
type OrderCancelled struct{ Reason string }

// Decide lets the money be given back, or the payment be voided.
func (c OrderCancelled) Decide(state Checkout) ([]Event, error) {
	if !state.Begun || state.Closed {
		return nil, nil
	}
	return state.learn(OrderClosed{explain("the order was cancelled", c.Reason)}), nil
}

// CancelRefused says that the order cannot be cancelled, since it is shipped.
type CancelRefused struct{}

// Decide lets the money be where it is, or the payment be voided.
func (CancelRefused) Decide(state Checkout) ([]Event, error) {
	if !state.Cancel || state.Closed || state.Kept {
		return nil, nil
	}
	return state.learn(OrderKept{}), nil
}

// explain returns what happened, with the reason if there is one, or with as much of it
// as an order takes: a payment is given back however much there is to say about it.
func explain(what, reason string) string {
	if reason == "" {
		return what
	}
	text := what + ": " + reason
	if len(text) > order.MaxText {
		text = strings.ToValidUTF8(text[:order.MaxText], "")
	}
	return text
}
