package bench

import (
	"encoding/json"

	"github.com/headwater-go/headwater/eventstore"
)

// The aggregates that are loaded, and take commands, are orders.

type event interface{ EventType() string }

// placed is what payload and events say.
type placed struct {
	Order    string `json:"order"`
	Quantity int    `json:"quantity"`
	Price    int    `json:"price"`
	Note     string `json:"note"`
}

func (placed) EventType() string { return "order.placed" }

var codec = eventstore.JSON[event](placed{})

type order struct {
	Events, Quantity, Total int
	Last                    string
}

func (o order) Evolve(e event) order {
	if p, ok := e.(placed); ok {
		o.Events++
		o.Quantity += p.Quantity
		o.Total += p.Quantity * p.Price
		o.Last = p.Order
	}
	return o
}

// fold is what the rivals do with an event's data.
func (o order) fold(data []byte) (order, error) {
	var p placed
	err := json.Unmarshal(data, &p)
	return o.Evolve(p), err
}

// place is a command that is never refused.
type place struct{ placed }

func (c place) Decide(order) ([]event, error) { return []event{c.placed}, nil }
