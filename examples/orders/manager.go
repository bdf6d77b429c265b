package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/timer"
)

// askPayments is how long the payments service may take for a command before the
// projection that asks it tries again.
const askPayments = 10 * time.Second

// manager is the process manager: it tells the checkouts what happens, and does what
// they want. All of it is done at least once, by handlers of projections, with
// commands whose ids follow from the events; so all of it counts once.
type manager struct {
	orders    *orders
	checkouts *aggregate.Repository[checkout.Checkout, checkout.Event]
	payments  *service.Client
	timers    *timer.Timers
	deadline  time.Duration // after the placement
}

type effects = projection.Handlers[struct{}]

// on returns the handler of an event whose effects need nothing else.
func on[E any](f func(context.Context, E, projection.Event) error) projection.Handler[struct{}] {
	return projection.On(func(ctx context.Context, _ struct{}, e E, at projection.Event) error { return f(ctx, e, at) })
}

// inOrders are the handlers of the orders' log whose effects are there, or timers.
// They do not need the payments service: an order is cancelled in time without it.
func (m *manager) inOrders() effects {
	return append(
		projection.From(order.Kind, order.Codec, on(m.placed), on(m.cancelled)),
		projection.From(checkout.Kind, checkout.Codec, on(m.watch), on(m.pay), on(m.cancel), on(m.done), on(m.failed))...,
	)
}

// toPayments are the handlers of the orders' log that ask the payments service.
func (m *manager) toPayments() effects {
	return projection.From(checkout.Kind, checkout.Codec, on(m.request), on(m.capture), on(m.void), on(m.refund))
}

// fromPayments are the handlers of the payments' log.
func (m *manager) fromPayments() effects {
	return projection.From(payment.Kind, payment.Codec,
		on(func(ctx context.Context, _ payment.Authorised, at projection.Event) error {
			return m.tell(ctx, at, "authorised", checkout.Authorised{})
		}),
		on(func(ctx context.Context, e payment.Declined, at projection.Event) error {
			return m.tell(ctx, at, "declined", checkout.Declined{Reason: e.Reason})
		}),
		on(func(ctx context.Context, e payment.Captured, at projection.Event) error {
			return m.tell(ctx, at, "captured", checkout.Captured{Amount: e.Amount})
		}),
		on(func(ctx context.Context, e payment.Voided, at projection.Event) error {
			return m.tell(ctx, at, "voided", checkout.Voided{Reason: e.Reason})
		}),
		on(func(ctx context.Context, e payment.Refunded, at projection.Event) error {
			return m.tell(ctx, at, "refunded", checkout.Refunded{Reason: e.Reason})
		}),
	)
}

// tell tells the checkout of an event's order what happened. It refuses nothing.
func (m *manager) tell(ctx context.Context, at projection.Event, step string, c aggregate.Command[checkout.Checkout, checkout.Event]) error {
	_, _, err := m.checkouts.Execute(ctx, at.Stream.ID, c, &aggregate.ExecuteOptions{CommandID: at.CommandID(step)})
	return err
}

// onOrder executes a command on an event's order.
func (m *manager) onOrder(ctx context.Context, at projection.Event, step string, c aggregate.Command[order.Order, order.Event]) error {
	_, _, err := m.orders.Execute(ctx, at.Stream.ID, c, &aggregate.ExecuteOptions{CommandID: at.CommandID(step)})
	return err
}

// ask asks the payments service. What it refuses is no error but for who looks at
// refused: whoever was faster, the payment's events say what became of it.
func (m *manager) ask(ctx context.Context, at projection.Event, step string, c service.Typed) (refused, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPayments)
	defer cancel()
	_, err = m.payments.Execute(ctx, at.Stream.ID, c, &service.CommandOptions{CommandID: at.CommandID(step)})
	if isRejected(err) || errors.Is(err, eventstore.ErrInvalid) {
		return reason(err), nil
	}
	return nil, err
}

func isRejected(err error) bool { return errors.As(err, new(*aggregate.RejectedError)) }

// reason returns the rule that a command broke, without who says so.
func reason(err error) error {
	var rejected *aggregate.RejectedError
	if errors.As(err, &rejected) {
		return rejected.Err
	}
	return err
}

// placed begins the checkout of an order with a card. The amount is that of the order
// as it was placed: its lines are in the same commit.
func (m *manager) placed(ctx context.Context, e order.Placed, at projection.Event) error {
	if e.Card == "" {
		return nil
	}
	o, _, err := m.orders.LoadVersion(ctx, at.Stream.ID, at.Revision().Version)
	if err != nil {
		return err
	}
	_, net, err := o.Amounts()
	if err != nil {
		return err
	}
	err = m.tell(ctx, at, "begin", checkout.Begin{Amount: net, Card: e.Card, Deadline: at.Recorded.Add(m.deadline)})
	if errors.Is(err, eventstore.ErrInvalid) { // an id so long that a checkout cannot have it
		return accept(m.onOrder(ctx, at, "no-checkout", order.Cancel{Reason: "the order's id is too long for a payment"}))
	}
	return err
}

// accept returns an error that is no refusal.
func accept(err error) error {
	if isRejected(err) {
		return nil
	}
	return err
}

func (m *manager) cancelled(ctx context.Context, e order.Cancelled, at projection.Event) error {
	err := m.tell(ctx, at, "cancelled", checkout.OrderCancelled{Reason: e.Reason})
	if errors.Is(err, eventstore.ErrInvalid) { // there is no checkout of such an id
		return nil
	}
	return err
}

// watch sets the deadline.
func (m *manager) watch(ctx context.Context, e checkout.PaymentWanted, at projection.Event) error {
	return m.timers.Set(ctx, timer.Timer{ID: timerOf(at.Stream.ID), At: e.Deadline, Data: []byte(at.Stream.ID)})
}

// timerOf returns the id of an order's timer. Those of orders can be too long for it.
func timerOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// expired is called when a deadline is over.
func (m *manager) expired(ctx context.Context, due timer.Timer) error {
	_, _, err := m.checkouts.Execute(ctx, string(due.Data), checkout.Expired{}, &aggregate.ExecuteOptions{CommandID: "deadline"})
	return err
}

// pay has the order take the payment. If it does not, the checkout gives it up.
func (m *manager) pay(ctx context.Context, e checkout.OrderPayWanted, at projection.Event) error {
	err := m.onOrder(ctx, at, "pay", order.Pay{Amount: e.Amount})
	switch {
	case isRejected(err):
		return m.tell(ctx, at, "pay-refused", checkout.PayRefused{Reason: reason(err).Error()})
	case err != nil:
		return err
	}
	return m.tell(ctx, at, "paid", checkout.OrderPaid{})
}

func (m *manager) cancel(ctx context.Context, e checkout.CancelWanted, at projection.Event) error {
	err := m.onOrder(ctx, at, "cancel", order.Cancel{Reason: e.Reason})
	switch {
	case errors.Is(err, order.ErrShipped):
		return m.tell(ctx, at, "cancel-refused", checkout.CancelRefused{})
	case err != nil && !errors.Is(err, order.ErrCancelled):
		return err
	}
	return m.tell(ctx, at, "order-cancelled", checkout.OrderCancelled(e))
}

func (m *manager) done(ctx context.Context, _ checkout.Done, at projection.Event) error {
	return m.timers.Cancel(ctx, timerOf(at.Stream.ID))
}

func (m *manager) failed(ctx context.Context, _ checkout.Failed, at projection.Event) error {
	return m.timers.Cancel(ctx, timerOf(at.Stream.ID))
}

func (m *manager) request(ctx context.Context, e checkout.PaymentWanted, at projection.Event) error {
	refused, err := m.ask(ctx, at, "request", payment.Request{Amount: e.Amount, Card: e.Card})
	if err != nil || refused == nil || errors.Is(refused, payment.ErrRequested) {
		return err
	}
	return m.tell(ctx, at, "payment-refused", checkout.PaymentRefused{Reason: refused.Error()})
}

func (m *manager) capture(ctx context.Context, _ checkout.CaptureWanted, at projection.Event) error {
	_, err := m.ask(ctx, at, "capture", payment.Capture{})
	return err
}

func (m *manager) void(ctx context.Context, e checkout.VoidWanted, at projection.Event) error {
	_, err := m.ask(ctx, at, "void", payment.Void{Reason: e.Reason})
	return err
}

func (m *manager) refund(ctx context.Context, e checkout.RefundWanted, at projection.Event) error {
	_, err := m.ask(ctx, at, "refund", payment.Refund{Reason: e.Reason})
	return err
}
