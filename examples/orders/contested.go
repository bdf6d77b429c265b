package main

import (
	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// contested is a command with bad luck: whenever it has decided for the first
// time, a colleague changes the order before its events are stored. In life
// that takes two people and chance; the guided run wants it every time.
//
// It does what a command must not do. Decide is to have no effects, exactly
// because it may be asked again, as it is here.
type contested struct {
	command   aggregate.Command[order.Order, order.Event]
	colleague func() error
	amounts   []order.Money // what the order came to, each time it decided
}

// Decide lets the command decide, and then the colleague come first.
func (c *contested) Decide(o order.Order) ([]order.Event, error) {
	_, net, err := o.Amounts()
	if err != nil {
		return nil, err
	}
	c.amounts = append(c.amounts, net)
	events, err := c.command.Decide(o)
	if err == nil && len(c.amounts) == 1 {
		err = c.colleague()
	}
	return events, err
}
