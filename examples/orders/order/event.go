package order

import (
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Kind is the kind of stream that an order's events are in.
const Kind = "order"

// Event is something that happened to an order. Nobody else can add to the
// events of this package, since isEvent has no name outside of it; a struct of
// another package in the place of one does not compile:
//
//	cannot use Refunded{} (value of struct type Refunded) as order.Event value:
//	Refunded does not implement order.Event (missing method isEvent)
type Event interface {
	eventstore.Typed
	isEvent()
}

// Codec stores the events as JSON. What the events below look like as JSON, and
// the names that their EventType methods return, are in every log for ever. The
// names of the Go types are not: rename them when a better word comes up.
var Codec = eventstore.JSON[Event](
	Placed{}, LineAdded{}, LineRemoved{}, Paid{}, Shipped{}, Cancelled{},
)

// Placed is the first event of every order. A LineAdded for each of its lines
// follows in the same commit.
type Placed struct {
	Customer string `json:"customer"`
	// Required is the day by which the customer wants the goods.
	Required time.Time `json:"required"`
	// OnAccount says that the order ships before it is paid.
	OnAccount bool `json:"onAccount,omitempty"`
	// Card is the payment provider's token of the card that the order is paid with.
	Card string `json:"card,omitempty"`
}

// LineAdded is a line that was ordered, at once or later.
type LineAdded struct {
	Line
}

// LineRemoved is a line that is not wanted any more.
type LineRemoved struct {
	Number int `json:"number"`
}

// Paid is the payment of the whole order.
type Paid struct {
	Amount Money `json:"amount"`
}

// Shipped is the order on its way. When that was is the commit's time, as with
// every event.
type Shipped struct{}

// Cancelled is the end of an order that was not shipped.
type Cancelled struct {
	Reason string `json:"reason,omitempty"`
}

// EventType returns "order.placed".
func (Placed) EventType() string { return "order.placed" }

// EventType returns "order.line-added".
func (LineAdded) EventType() string { return "order.line-added" }

// EventType returns "order.line-removed".
func (LineRemoved) EventType() string { return "order.line-removed" }

// EventType returns "order.paid".
func (Paid) EventType() string { return "order.paid" }

// EventType returns "order.shipped".
func (Shipped) EventType() string { return "order.shipped" }

// EventType returns "order.cancelled".
func (Cancelled) EventType() string { return "order.cancelled" }

func (Placed) isEvent()      {}
func (LineAdded) isEvent()   {}
func (LineRemoved) isEvent() {}
func (Paid) isEvent()        {}
func (Shipped) isEvent()     {}
func (Cancelled) isEvent()   {}
