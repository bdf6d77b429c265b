package main

import (
	"context"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// delivery is an order in the read model of late ones.
type delivery struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Wanted   time.Time `json:"wanted"`
	Shipped  time.Time `json:"shipped,omitzero"`
}

// latePrefix is that of the keys of orders that were shipped late. The day of
// the shipping follows. How many were shipped at all, in time or not, is under
// shippedKey.
const (
	latePrefix = "late/"
	shippedKey = "shipped"
)

// lateOrders are the handlers of the read model.
func lateOrders() projection.Handlers[*bbolt.Bucket] {
	return projection.From(order.Kind, order.Codec,
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.Placed, at projection.Event) error {
			return enter(b, at.Stream.ID, delivery{ID: at.Stream.ID, Customer: e.Customer, Wanted: e.Required})
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, _ order.Shipped, at projection.Event) error {
			return change(b, at.Stream.ID, func(d *delivery) { d.Shipped = at.Time })
		}),
		projection.On(decoded[order.LineAdded]),
		projection.On(decoded[order.LineRemoved]),
		projection.On(decoded[order.Paid]),
		projection.On(decoded[order.Cancelled]),
		forgetting[delivery](),
	)
}

func (d delivery) count(b *bbolt.Bucket, sign int) error {
	if d.Shipped.IsZero() {
		return nil
	}
	shipped, _, err := get[int](b, shippedKey)
	if err != nil {
		return err
	}
	if err := put(b, shippedKey, shipped+sign); err != nil {
		return err
	}
	key := latePrefix + d.Shipped.Format(dayForm) + "/" + d.ID
	switch {
	case d.days() <= 0:
		return nil
	case sign < 0:
		return b.Delete([]byte(key))
	}
	return put(b, key, d)
}

// days returns by how many days the order was shipped late.
func (d delivery) days() int64 { return day(d.Shipped) - day(d.Wanted) }

// day numbers the days. A difference of times would end after 292 years, which
// a day that nobody set is easily away.
func day(t time.Time) int64 {
	const length = 24 * time.Hour
	return t.Truncate(length).Unix() / int64(length/time.Second)
}
