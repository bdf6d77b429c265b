package order

import (
	"fmt"
	"time"
)

// MaxText is how many bytes a customer, a product, a card and a reason may have. They
// travel in every event, command and list about the order, which must fit into messages.
const MaxText = 200

// Place places an order with its lines. It is refused with ErrAlreadyPlaced,
// ErrNoCustomer, ErrNoLines, ErrTooLong, or what is wrong with a line; and one with a
// card with ErrCardOnAccount, or with ErrNothingToPay if it amounts to nothing.
type Place struct {
	Customer  string    `json:"customer"`
	Required  time.Time `json:"required"`            // the day by which the customer wants the goods
	OnAccount bool      `json:"onAccount,omitempty"` // ship before it is paid: the customer gets an invoice
	// Card is the payment provider's token of the card that the order is paid with,
	// and never a card's number. Empty: the checkout asks for no payment.
	Card  string `json:"card,omitempty"`
	Lines []Item `json:"lines"`
}

// Decide returns Placed and a LineAdded for each line. They become one commit,
// so nobody ever sees the order with half of its lines.
func (c Place) Decide(o Order) ([]Event, error) {
	switch {
	case o.Placed:
		return nil, ErrAlreadyPlaced
	case c.Customer == "":
		return nil, ErrNoCustomer
	case len(c.Lines) == 0:
		return nil, ErrNoLines
	case len(c.Customer) > MaxText, len(c.Card) > MaxText:
		return nil, ErrTooLong
	case c.Card != "" && c.OnAccount:
		return nil, ErrCardOnAccount
	}
	events := []Event{Placed{Customer: c.Customer, Required: c.Required, OnAccount: c.OnAccount, Card: c.Card}}
	for i, item := range c.Lines {
		if err := item.Check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		events = append(events, LineAdded{Line{Number: i + 1, Item: item}})
	}
	net, err := amount(o, events)
	switch {
	case err != nil:
		return nil, err
	case c.Card != "" && net == 0:
		return nil, ErrNothingToPay
	}
	return events, nil
}

// AddLine adds a line. It is refused with ErrNotPlaced, ErrCancelled,
// ErrShipped, ErrPaid, or what is wrong with the line.
type AddLine struct {
	Item
}

// Decide returns a LineAdded.
func (c AddLine) Decide(o Order) ([]Event, error) {
	if err := o.linesChangeable(); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	events := []Event{LineAdded{Line{Number: o.LastNumber + 1, Item: c.Item}}}
	if _, err := amount(o, events); err != nil {
		return nil, err
	}
	return events, nil
}

// RemoveLine removes the line of a number. It is refused with ErrNotPlaced,
// ErrCancelled, ErrShipped, ErrPaid, ErrNoSuchLine, or with ErrNoLines if it is
// the last one.
type RemoveLine struct {
	Number int
}

// Decide returns a LineRemoved.
func (c RemoveLine) Decide(o Order) ([]Event, error) {
	if err := o.linesChangeable(); err != nil {
		return nil, err
	}
	after := o.Evolve(LineRemoved(c))
	switch len(after.Lines) {
	case len(o.Lines):
		return nil, ErrNoSuchLine
	case 0:
		return nil, ErrNoLines
	}
	return []Event{LineRemoved(c)}, nil
}

// Pay pays the whole order. It is refused with ErrNotPlaced, ErrCancelled,
// ErrPaid, or with ErrAmount if the order does not amount to what is paid. A
// shipped order can be paid: that is what ordering on account means.
type Pay struct {
	Amount Money // zero: whatever the order amounts to
}

// Decide returns Paid with the amount.
func (c Pay) Decide(o Order) ([]Event, error) {
	switch {
	case !o.Placed:
		return nil, ErrNotPlaced
	case o.Cancelled:
		return nil, ErrCancelled
	case o.Paid:
		return nil, ErrPaid
	}
	_, net, err := o.Amounts()
	switch {
	case err != nil:
		return nil, err
	case c.Amount != 0 && c.Amount != net:
		return nil, ErrAmount
	}
	return []Event{Paid{Amount: net}}, nil
}

// Ship sends the goods. It is refused with ErrNotPlaced, ErrCancelled,
// ErrShipped, or with ErrNotPaid unless the order was placed on account.
type Ship struct{}

// Decide returns Shipped.
func (Ship) Decide(o Order) ([]Event, error) {
	if err := o.changeable(); err != nil {
		return nil, err
	}
	if !o.Paid && !o.OnAccount {
		return nil, ErrNotPaid
	}
	return []Event{Shipped{}}, nil
}

// Cancel ends an order that is not shipped, paid or not. It is refused with
// ErrNotPlaced, ErrCancelled, ErrShipped or ErrTooLong.
type Cancel struct {
	Reason string `json:"reason,omitempty"`
}

// Decide returns Cancelled.
func (c Cancel) Decide(o Order) ([]Event, error) {
	if err := o.changeable(); err != nil {
		return nil, err
	}
	if len(c.Reason) > MaxText {
		return nil, ErrTooLong
	}
	return []Event{Cancelled(c)}, nil
}

// RequestType returns "order.place".
func (Place) RequestType() string { return "order.place" }

// RequestType returns "order.ship".
func (Ship) RequestType() string { return "order.ship" }

// RequestType returns "order.cancel".
func (Cancel) RequestType() string { return "order.cancel" }

// linesChangeable returns why the lines cannot change any more: after the
// payment they would not be what was paid for.
func (o Order) linesChangeable() error {
	if err := o.changeable(); err != nil {
		return err
	}
	if o.Paid {
		return ErrPaid
	}
	return nil
}

// amount returns what the order would amount to after events, or ErrTooLarge if
// that is more than Money can count, so that no later reader of them meets that.
func amount(o Order, events []Event) (Money, error) {
	for _, e := range events {
		o = o.Evolve(e)
	}
	_, net, err := o.Amounts()
	return net, err
}
