package order

import (
	"slices"
	"time"
)

// Order is the state of an order: what its events so far amount to. The zero
// Order has no events.
type Order struct {
	Placed    bool
	Customer  string
	Required  time.Time // the day by which the customer wants the goods
	OnAccount bool      // the order ships before it is paid
	Card      string    // the payment provider's token; empty: not paid by card

	Lines      []Line // in the order in which they were added
	LastNumber int    // the highest number that a line ever had

	Paid      bool
	Shipped   bool
	Cancelled bool
	Reason    string // why it is cancelled
}

// Evolve returns the order after an event. It asks no questions: what has
// happened has happened, and the rules were the command's to check.
//
// The earlier order stays as it is, for whoever still holds it. Assigning to
// the fields of o changes a copy, but a slice would be shared; so the lines are
// copied before they change.
func (o Order) Evolve(event Event) Order {
	switch e := event.(type) {
	case Placed:
		o.Placed = true
		o.Customer, o.Required, o.OnAccount, o.Card = e.Customer, e.Required, e.OnAccount, e.Card
	case LineAdded:
		o.Lines = append(slices.Clip(o.Lines), e.Line) // no room: append copies
		o.LastNumber = max(o.LastNumber, e.Number)
	case LineRemoved:
		o.Lines = slices.DeleteFunc(slices.Clone(o.Lines), func(l Line) bool {
			return l.Number == e.Number
		})
	case Paid:
		o.Paid = true
	case Shipped:
		o.Shipped = true
	case Cancelled:
		o.Cancelled, o.Reason = true, e.Reason
	}
	return o
}

// Amounts returns what the lines amount to, without and with their discounts.
// The error is ErrTooLarge, or what is wrong with a line; no order that came
// about by this package's commands has one.
func (o Order) Amounts() (gross, net Money, err error) {
	for _, line := range o.Lines {
		g, n, err := line.Amounts()
		if err != nil {
			return 0, 0, err
		}
		if gross, err = gross.Plus(g); err != nil {
			return 0, 0, err
		}
		net += n // at most gross
	}
	return gross, net, nil
}

// Stage returns how far the order has come, "" if it is not placed.
func (o Order) Stage() string {
	switch {
	case o.Cancelled:
		return StageCancelled
	case o.Shipped:
		return StageShipped
	case o.Paid:
		return StagePaid
	case o.Placed:
		return StagePlaced
	}
	return ""
}

// changeable returns why the order cannot change any more, nil if it can.
func (o Order) changeable() error {
	switch {
	case !o.Placed:
		return ErrNotPlaced
	case o.Cancelled:
		return ErrCancelled
	case o.Shipped:
		return ErrShipped
	}
	return nil
}
