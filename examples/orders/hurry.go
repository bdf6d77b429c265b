package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// hurryID is an order with a long history.
const hurryID = "1002"

// hurry shows how fast an order with a long history is there.
func (g *guide) hurry(ctx context.Context) error {
	g.say("8. A customer who cannot decide: another order, with 500 changes. It is there")
	if err := g.dither(ctx); err != nil {
		return err
	}
	if err := g.snapshots.Flush(ctx); err != nil {
		return err
	}
	whole, err := g.loads(ctx, &aggregate.Options{Cache: -1})
	if err != nil {
		return err
	}
	kept, err := g.loads(ctx, &aggregate.Options{Cache: -1, Snapshots: g.snapshots})
	if err != nil {
		return err
	}
	memory := median(func() error { g.orders.Cached(hurryID); return nil }, &err)
	fmt.Fprintf(g.w, "  in %s from its events, in %s from its snapshot, in %s from memory.\n", whole, kept, memory)
	return nil
}

// dither places an order, and adds and removes a line again and again.
func (g *guide) dither(ctx context.Context) error {
	tofu := order.Item{Product: "Tofu", UnitPrice: 2325 * order.Cent, Quantity: 1}
	commands := []aggregate.Command[order.Order, order.Event]{order.Place{Customer: "ALFKI", Lines: []order.Item{tofu}}}
	for n := 2; len(commands) < 500; n++ {
		commands = append(commands, order.AddLine{Item: tofu}, order.RemoveLine{Number: n})
	}
	for _, c := range commands {
		if _, _, err := g.orders.Execute(ctx, hurryID, c, &aggregate.ExecuteOptions{Time: g.clock}); err != nil {
			return err
		}
	}
	return nil
}

// loads returns how long a load of the order takes.
func (g *guide) loads(ctx context.Context, opts *aggregate.Options) (took time.Duration, err error) {
	orders := g.repository(opts)
	took = median(func() error {
		_, _, err := orders.Load(ctx, hurryID)
		return err
	}, &err)
	return took, err
}

// median returns what something takes, as the median of a few times.
func median(do func() error, failed *error) time.Duration {
	took := make([]time.Duration, 5)
	for i := range took {
		start := time.Now()
		if err := do(); err != nil {
			*failed = err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[len(took)/2].Round(100 * time.Nanosecond)
}
