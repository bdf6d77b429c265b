package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"go.etcd.io/bbolt"
)

// listing is an order in the read model that order.List is answered from.
type listing struct {
	Summary order.Summary `json:"summary"`
	Placed  uint64        `json:"placed"` // position
	Lines   []order.Line  `json:"lines"`
	Paid    bool          `json:"paid,omitempty"`
}

// placedPrefix is that of the keys by which orders are found in the order of their
// placement.
const placedPrefix = "placed/"

func (l listing) count(b *bbolt.Bucket, sign int) error {
	key := fmt.Sprintf("%s%016x/%s", placedPrefix, l.Placed, l.Summary.ID)
	if sign < 0 {
		return b.Delete([]byte(key))
	}
	return put(b, key, l.Summary)
}

// listed are the handlers of the read model.
func listed() projection.Handlers[*bbolt.Bucket] {
	return projection.From(order.Kind, order.Codec,
		projection.On(func(_ context.Context, b *bbolt.Bucket, e order.Placed, at projection.Event) error {
			l := listing{Placed: at.Position, Summary: order.Summary{ID: at.Stream.ID, Customer: e.Customer}}
			return enter(b, at.Stream.ID, l.after(e, at))
		}),
		projection.On(relist[order.LineAdded]),
		projection.On(relist[order.LineRemoved]),
		projection.On(relist[order.Paid]),
		projection.On(relist[order.Shipped]),
		projection.On(relist[order.Cancelled]),
		forgetting[listing](),
	)
}

func relist[E order.Event](_ context.Context, b *bbolt.Bucket, e E, at projection.Event) error {
	return change(b, at.Stream.ID, func(l *listing) { *l = l.after(e, at) })
}

// after returns the listing after an event.
func (l listing) after(e order.Event, at projection.Event) listing {
	o := order.Order{
		Placed: true, Lines: l.Lines, Paid: l.Paid, Reason: l.Summary.Reason,
		Shipped:   l.Summary.Stage == order.StageShipped,
		Cancelled: l.Summary.Stage == order.StageCancelled,
	}.Evolve(e)
	s := summary(at.Stream.ID, o, at.Revision())
	l.Lines, l.Paid = o.Lines, o.Paid
	s.Customer, s.Version, s.Changed = l.Summary.Customer, at.Version, at.Time
	l.Summary = s
	return l
}

// summary returns what an answer says of an order, but for when it changed. The
// amount of an order that came about by the rules is never too large.
func summary(id string, o order.Order, at eventstore.Revision) order.Summary {
	_, net, _ := o.Amounts()
	return order.Summary{
		ID: id, Customer: o.Customer, Stage: o.Stage(), Reason: o.Reason, Amount: net,
		Version: at.Version, Position: at.Position,
	}
}

// board answers the queries about orders.
type board struct {
	log    *eventstore.Store
	orders *orders
	file   *projection.File
	list   *projection.Projection[*bbolt.Bucket]
}

// find answers order.Find, from the log.
func (b *board) find(ctx context.Context, q order.Find) (order.Summary, error) {
	o, at, err := b.orders.Load(ctx, q.ID)
	if err != nil {
		return order.Summary{}, err
	}
	if at.Version == 0 {
		return order.Summary{}, fmt.Errorf("order %q: %w", q.ID, service.ErrNotFound)
	}
	s := summary(q.ID, o, at)
	last := &eventstore.ReadOptions{From: at.Version, To: at.Version}
	for e, err := range b.log.Read(ctx, eventstore.StreamID{Kind: order.Kind, ID: q.ID}, last) {
		if err != nil {
			return order.Summary{}, err
		}
		s.Changed = e.Time
	}
	return s, nil
}

// listOrders answers order.List, from the read model.
func (b *board) listOrders(_ context.Context, q order.List) (order.Listed, error) {
	limit := min(q.Limit, order.MaxLimit)
	switch {
	case limit < 0:
		return order.Listed{}, &eventstore.InvalidError{What: "limit", Value: fmt.Sprint(q.Limit), Reason: "must not be negative"}
	case limit == 0:
		limit = order.DefaultLimit
	}
	// The position is asked for first, so that the list has no less.
	answer := order.Listed{Position: b.list.Status().Position, Orders: []order.Summary{}}
	err := b.file.View(b.list.Name(), func(bucket *bbolt.Bucket) error {
		return newest(bucket, placedPrefix, limit, func(s order.Summary) { answer.Orders = append(answer.Orders, s) })
	})
	if errors.Is(err, projection.ErrNoGeneration) {
		err = nil // it has not begun
	}
	return answer, err
}
