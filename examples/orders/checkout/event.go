package checkout

import (
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// Kind is the kind of stream that a checkout's events are in. Its id is the order's.
const Kind = "checkout"

// Event is something that a checkout wants done, or knows.
type Event interface {
	eventstore.Typed
	isEvent()
}

// Codec stores the events as JSON.
var Codec = eventstore.JSON[Event](
	PaymentWanted{}, CaptureWanted{}, OrderPayWanted{}, CancelWanted{}, VoidWanted{}, RefundWanted{},
	MoneyTaken{}, MoneyFree{}, OrderClosed{}, OrderKept{}, Done{}, Failed{},
)

// PaymentWanted is the first event of every checkout: the payment is to be requested,
// and the deadline to be watched.
type PaymentWanted struct {
	Amount   order.Money `json:"amount"`
	Card     string      `json:"card"`
	Deadline time.Time   `json:"deadline"`
}

// CaptureWanted says that the payment is to be captured.
type CaptureWanted struct{}

// OrderPayWanted says that the order is to take the payment.
type OrderPayWanted struct {
	Amount order.Money `json:"amount"`
}

// CancelWanted says that the order is to be cancelled.
type CancelWanted struct {
	Reason string `json:"reason"`
}

// VoidWanted says that the payment, which is not captured, is to be voided.
type VoidWanted struct {
	Reason string `json:"reason"`
}

// RefundWanted says that the payment is to be refunded.
type RefundWanted struct {
	Reason string `json:"reason"`
}

// MoneyTaken says that the payment is captured. That is what the order is to be paid
// with, whoever asked for the payment: if it amounts to something else, it refuses.
type MoneyTaken struct {
	Amount order.Money `json:"amount"`
}

// MoneyFree says that the payment takes no money, or has given it back.
type MoneyFree struct {
	Reason string `json:"reason"`
}

// OrderClosed says that the order is cancelled.
type OrderClosed struct {
	Reason string `json:"reason"`
}

// OrderKept says that the order cannot be cancelled, since it is shipped.
type OrderKept struct{}

// Done is an order that is paid. It can be cancelled still.
type Done struct{}

// Failed is an end without payment.
type Failed struct {
	Reason string `json:"reason"`
}

// EventType returns "checkout.payment-wanted".
func (PaymentWanted) EventType() string { return "checkout.payment-wanted" }

// EventType returns "checkout.capture-wanted".
func (CaptureWanted) EventType() string { return "checkout.capture-wanted" }

// EventType returns "checkout.order-pay-wanted".
func (OrderPayWanted) EventType() string { return "checkout.order-pay-wanted" }

// EventType returns "checkout.cancel-wanted".
func (CancelWanted) EventType() string { return "checkout.cancel-wanted" }

// EventType returns "checkout.void-wanted".
func (VoidWanted) EventType() string { return "checkout.void-wanted" }

// EventType returns "checkout.refund-wanted".
func (RefundWanted) EventType() string { return "checkout.refund-wanted" }

// EventType returns "checkout.money-taken".
func (MoneyTaken) EventType() string { return "checkout.money-taken" }

// EventType returns "checkout.money-free".
func (MoneyFree) EventType() string { return "checkout.money-free" }

// EventType returns "checkout.order-closed".
func (OrderClosed) EventType() string { return "checkout.order-closed" }

// EventType returns "checkout.order-kept".
func (OrderKept) EventType() string { return "checkout.order-kept" }

// EventType returns "checkout.done".
func (Done) EventType() string { return "checkout.done" }

// EventType returns "checkout.failed".
func (Failed) EventType() string { return "checkout.failed" }

func (PaymentWanted) isEvent()  {}
func (CaptureWanted) isEvent()  {}
func (OrderPayWanted) isEvent() {}
func (CancelWanted) isEvent()   {}
func (VoidWanted) isEvent()     {}
func (RefundWanted) isEvent()   {}
func (MoneyTaken) isEvent()     {}
func (MoneyFree) isEvent()      {}
func (OrderClosed) isEvent()    {}
func (OrderKept) isEvent()      {}
func (Done) isEvent()           {}
func (Failed) isEvent()         {}
