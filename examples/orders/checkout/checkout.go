package checkout

import "github.com/headwater-go/headwater/examples/orders/order"

// Money is where a payment's money is, as far as the checkout knows.
type Money string

// Where it can be.
const (
	Open  Money = ""      // with the customer, and may be taken
	Taken Money = "taken" // with the shop
	Free  Money = "free"  // with the customer, for good
)

// Checkout is the state of a checkout: what its events so far amount to. The zero
// Checkout has no events.
type Checkout struct {
	Begun  bool
	Money  Money
	Amount order.Money // that is taken
	Closed bool        // the order is cancelled
	Kept   bool        // the order cannot be cancelled
	Reason string      // what went wrong first

	// What was wanted.
	Capture, Pay, Cancel, Void, Refund bool

	Done   bool
	Failed bool
}

// Evolve returns the checkout after an event.
func (c Checkout) Evolve(event Event) Checkout {
	switch e := event.(type) {
	case PaymentWanted:
		c.Begun = true
	case CaptureWanted:
		c.Capture = true
	case OrderPayWanted:
		c.Pay = true
	case CancelWanted:
		c.Cancel = true
		c = c.because(e.Reason)
	case VoidWanted:
		c.Void = true
	case RefundWanted:
		c.Refund = true
	case MoneyTaken:
		c.Money, c.Amount = Taken, e.Amount
	case MoneyFree:
		c.Money = Free
		c = c.because(e.Reason)
	case OrderClosed:
		c.Closed = true
		c = c.because(e.Reason)
	case OrderKept:
		c.Kept = true
	case Done:
		c.Done = true
	case Failed:
		c.Failed = true
	}
	return c
}

func (c Checkout) because(reason string) Checkout {
	if c.Reason == "" {
		c.Reason = reason
	}
	return c
}

// Ended reports whether nothing is to be done any more, unless the order is
// cancelled after all.
func (c Checkout) Ended() bool {
	return c.Failed || c.Done && !c.Closed && c.Money == Taken
}

// undecided reports whether it is open still whether the payment is captured.
func (c Checkout) undecided() bool {
	return c.Begun && c.Money == Open && !c.Capture && !c.Cancel && !c.Closed && !c.Kept
}

// learn returns a fact, and what is wanted because of it.
func (c Checkout) learn(fact Event) []Event {
	return append([]Event{fact}, c.Evolve(fact).next()...)
}

// next returns what follows from what the checkout knows, where that was not wanted
// before.
func (c Checkout) next() []Event {
	settled := c.Closed || c.Kept
	switch {
	case c.Money == Free && settled:
		return once(c.Failed, Failed{c.Reason})
	case c.Money == Free:
		return once(c.Cancel, CancelWanted{c.Reason})
	case c.Money == Taken && c.Closed:
		return once(c.Refund, RefundWanted{c.Reason})
	case c.Money == Taken && c.Kept: // it was shipped, so it was paid
		return once(c.Done, Done{})
	case c.Money == Taken:
		return once(c.Pay || c.Cancel, OrderPayWanted{c.Amount})
	case settled: // where it may be captured, that is waited for
		return once(c.Void || c.Capture, VoidWanted{c.Reason})
	}
	return nil
}

func once(before bool, event Event) []Event {
	if before {
		return nil
	}
	return []Event{event}
}
