package payment

import (
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// Kind is the kind of stream that a payment's events are in.
const Kind = "payment"

// Event is something that happened to a payment.
type Event interface {
	eventstore.Typed
	isEvent()
}

// Codec stores the events as JSON.
var Codec = eventstore.JSON[Event](
	Requested{}, Authorised{}, Declined{}, Captured{}, Voided{}, Refunded{},
)

// Requested is the first event of every payment.
type Requested struct {
	Amount order.Money `json:"amount"`
	// Card is the provider's token of the card.
	Card string `json:"card"`
}

// Authorised is the provider's word that the amount is there to be captured.
type Authorised struct{}

// Declined is the provider's refusal.
type Declined struct {
	Reason string `json:"reason,omitempty"`
}

// Captured is the money taken from the card.
type Captured struct {
	Amount order.Money `json:"amount"`
}

// Voided is the end of a payment that was not captured.
type Voided struct {
	Reason string `json:"reason,omitempty"`
}

// Refunded is the money given back.
type Refunded struct {
	Amount order.Money `json:"amount"`
	Reason string      `json:"reason,omitempty"`
}

// EventType returns "payment.requested".
func (Requested) EventType() string { return "payment.requested" }

// EventType returns "payment.authorised".
func (Authorised) EventType() string { return "payment.authorised" }

// EventType returns "payment.declined".
func (Declined) EventType() string { return "payment.declined" }

// EventType returns "payment.captured".
func (Captured) EventType() string { return "payment.captured" }

// EventType returns "payment.voided".
func (Voided) EventType() string { return "payment.voided" }

// EventType returns "payment.refunded".
func (Refunded) EventType() string { return "payment.refunded" }

func (Requested) isEvent()  {}
func (Authorised) isEvent() {}
func (Declined) isEvent()   {}
func (Captured) isEvent()   {}
func (Voided) isEvent()     {}
func (Refunded) isEvent()   {}
