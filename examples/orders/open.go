package main

import (
	"context"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// openOrder is an order that is neither shipped nor cancelled.
type openOrder struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Wanted   time.Time `json:"wanted"` // by that day
	Closed   bool      `json:"closed,omitempty"`
}

// openPrefix is that of the keys of open orders. The day by which an order is
// wanted follows, so that those come first which are wanted first.
const openPrefix = "open/"

// openOrders are the handlers of the read model.
func openOrders() projection.Handlers[*bbolt.Bucket] {
	closed := func(o *openOrder) { o.Closed = true }
	return projection.From(order.Kind, order.Codec,
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.Placed, at projection.Event) error {
			return enter(b, at.Stream.ID, openOrder{ID: at.Stream.ID, Customer: e.Customer, Wanted: e.Required})
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, _ order.Shipped, at projection.Event) error {
			return change(b, at.Stream.ID, closed)
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, _ order.Cancelled, at projection.Event) error {
			return change(b, at.Stream.ID, closed)
		}),
		projection.On(decoded[order.LineAdded]),
		projection.On(decoded[order.LineRemoved]),
		projection.On(decoded[order.Paid]),
		forgetting[openOrder](),
	)
}

func (o openOrder) count(b *bbolt.Bucket, sign int) error {
	key := openPrefix + o.Wanted.Format(dayForm) + "/" + o.ID
	switch {
	case o.Closed:
		return nil
	case sign < 0:
		return b.Delete([]byte(key))
	}
	return put(b, key, o)
}
