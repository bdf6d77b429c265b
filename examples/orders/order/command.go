package order

import (
	"fmt"
	"time"
)

// Place places an order with its lines. It is refused with ErrAlreadyPlaced,
// ErrNoCustomer, ErrNoLines, or what is wrong with a line.
type Place struct {
	Customer  string
	Required  time.Time // the day by which the customer wants the goods
	OnAccount bool      // ship before it is paid: the customer gets an invoice
	Lines     []Item
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
	}
	events := []Event{Placed{Customer: c.Customer, Required: c.Required, OnAccount: c.OnAccount}}
	for i, item := range c.Lines {
		if err := item.Check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		events = append(events, LineAdded{Line{Number: i + 1, Item: item}})
	}
	return affordable(o, events)
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
	return affordable(o, events)
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

// Pay pays the whole order, whatever it amounts to. It is refused with
// ErrNotPlaced, ErrCancelled or ErrPaid. A shipped order can be paid: that is
// what ordering on account means.
type Pay struct{}

// Decide returns Paid with the amount.
func (Pay) Decide(o Order) ([]Event, error) {
	switch {
	case !o.Placed:
		return nil, ErrNotPlaced
	case o.Cancelled:
		return nil, ErrCancelled
	case o.Paid:
		return nil, ErrPaid
	}
	_, net, err := o.Amounts()
	if err != nil {
		return nil, err
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
// ErrNotPlaced, ErrCancelled or ErrShipped.
type Cancel struct {
	Reason string
}

// Decide returns Cancelled.
func (c Cancel) Decide(o Order) ([]Event, error) {
	if err := o.changeable(); err != nil {
		return nil, err
	}
	return []Event{Cancelled(c)}, nil
}

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

// affordable returns the events, or ErrTooLarge if the order would amount to
// more than Money can count, so that no later reader of its events meets that.
func affordable(o Order, events []Event) ([]Event, error) {
	for _, e := range events {
		o = o.Evolve(e)
	}
	if _, _, err := o.Amounts(); err != nil {
		return nil, err
	}
	return events, nil
}
