package main

import (
	"context"
	"slices"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// sales are what orders come to: those that were placed on a day, or those of a
// customer. Cancelled ones are counted, and bring no revenue.
type sales struct {
	Orders    int         `json:"orders"`
	Cancelled int         `json:"cancelled"` // of these
	Lines     int         `json:"lines"`     // that the orders have now
	Gross     order.Money `json:"gross"`     // before discounts
	Net       order.Money `json:"net"`
}

// salesPrefix is that of the keys in the read models of sales. The rest is the
// day or the customer.
const salesPrefix = "sales/"

// sale is an order in the read models of sales.
type sale struct {
	Of        string     `json:"of"` // the day or customer that it is counted for
	Lines     []saleLine `json:"lines"`
	Cancelled bool       `json:"cancelled,omitempty"`
}

type saleLine struct {
	Number int         `json:"number"`
	Gross  order.Money `json:"gross"`
	Net    order.Money `json:"net"`
}

// salesByDay counts an order, as it is now, for the day on which it was placed.
func salesByDay() projection.Handlers[*bbolt.Bucket] {
	return salesBy(func(_ order.Placed, when time.Time) string { return when.Format(dayForm) })
}

func salesByCustomer() projection.Handlers[*bbolt.Bucket] {
	return salesBy(func(e order.Placed, _ time.Time) string { return e.Customer })
}

// salesBy are the handlers of a read model of sales.
func salesBy(of func(order.Placed, time.Time) string) projection.Handlers[*bbolt.Bucket] {
	return projection.From(order.Kind, order.Codec,
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.Placed, at projection.Event) error {
			return enter(b, at.Stream.ID, sale{Of: of(e, at.Time)})
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.LineAdded, at projection.Event) error {
			gross, net, err := e.Amounts()
			if err != nil {
				return &projection.Permanent{Err: err}
			}
			return change(b, at.Stream.ID, func(s *sale) {
				s.Lines = append(s.Lines, saleLine{e.Number, gross, net})
			})
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.LineRemoved, at projection.Event) error {
			return change(b, at.Stream.ID, func(s *sale) {
				s.Lines = slices.DeleteFunc(s.Lines, func(l saleLine) bool { return l.Number == e.Number })
			})
		}),
		projection.On(func(_ context.Context, b *bbolt.Bucket, _ order.Cancelled, at projection.Event) error {
			return change(b, at.Stream.ID, func(s *sale) { s.Cancelled = true })
		}),
		projection.On(decoded[order.Paid]),
		projection.On(decoded[order.Shipped]),
		forgetting[sale](),
	)
}

func (s sale) count(b *bbolt.Bucket, sign int) error {
	sum, _, err := get[sales](b, salesPrefix+s.Of)
	if err != nil {
		return err
	}
	sum.Orders += sign
	sum.Lines += sign * len(s.Lines)
	if s.Cancelled {
		sum.Cancelled += sign
	} else if err := sum.earn(s.Lines, order.Money(sign)); err != nil {
		return err
	}
	if sum.Orders == 0 {
		return b.Delete([]byte(salesPrefix + s.Of))
	}
	return put(b, salesPrefix+s.Of, sum)
}

// earn adds what lines come to. An amount that Money cannot count will not get
// better.
func (s *sales) earn(lines []saleLine, sign order.Money) (err error) {
	for _, l := range lines {
		if s.Gross, err = s.Gross.Plus(sign * l.Gross); err != nil {
			return &projection.Permanent{Err: err}
		}
		s.Net += sign * l.Net // at most gross
	}
	return nil
}

// add adds other sales.
func (s *sales) add(other sales) (err error) {
	s.Orders += other.Orders
	s.Cancelled += other.Cancelled
	s.Lines += other.Lines
	s.Net += other.Net // at most gross
	s.Gross, err = s.Gross.Plus(other.Gross)
	return err
}
