package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// tourID is the order that the guided run is about.
const tourID = "1001"

// guide leads through the life of one order.
type guide struct {
	*shop
	w     io.Writer
	clock time.Time // in the story, which is not told in real time
}

// tour is the guided run. It leaves its folder behind, to look at.
func tour(ctx context.Context, c console) (err error) {
	dir, err := os.MkdirTemp("", "headwater-orders-")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "An order, kept as its events by a server inside this program, in\n%s\n", dir)
	s, err := openShop(ctx, dir)
	if err != nil {
		return err
	}
	g := &guide{shop: s, w: c.out, clock: time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)}
	defer func() { err = errors.Join(err, g.Close()) }()
	for _, chapter := range []func(context.Context) error{
		g.place, g.pay, g.ship, g.cancel, g.lookBack,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
		g.clock = g.clock.Add(17 * time.Minute)
	}
	if err := g.restart(ctx, dir); err != nil {
		return err
	}
	if err := g.hurry(ctx); err != nil {
		return err
	}
	if err := g.ask(ctx); err != nil {
		return err
	}
	g.say("Look around for yourself:")
	fmt.Fprintf(g.w, `  go run ./examples/orders history -data %[1]s %[2]s
  go run ./examples/orders show -data %[1]s %[2]s -at 3
  go run ./examples/orders list -data %[1]s sales-by-customer
  go run ./examples/orders -h
`, dir, tourID)
	return nil
}

// say begins a chapter.
func (g *guide) say(text string) { fmt.Fprintf(g.w, "\n%s\n", text) }

// execute executes a command and says how the order stands after it.
func (g *guide) execute(ctx context.Context, c aggregate.Command[order.Order, order.Event]) error {
	return g.executeIn(ctx, g.orders, c)
}

func (g *guide) executeIn(ctx context.Context, orders *orders, c aggregate.Command[order.Order, order.Event]) error {
	o, at, err := orders.Execute(ctx, tourID, c, &aggregate.ExecuteOptions{Time: g.clock})
	if err != nil {
		return err
	}
	return g.sum(o, at.Version)
}

// sum says in a line how an order stands.
func (g *guide) sum(o order.Order, version uint64) error {
	_, net, err := o.Amounts()
	if err != nil {
		return err
	}
	fmt.Fprintf(g.w, "  version %d: %s; %d lines, %s\n", version, stage(o), len(o.Lines), net)
	return nil
}

func (g *guide) place(ctx context.Context) error {
	g.say("1. Place an order of two lines. That makes three events and one commit.")
	return g.execute(ctx, order.Place{
		Customer: "ALFKI",
		Required: time.Date(2026, time.March, 16, 0, 0, 0, 0, time.UTC),
		Lines: []order.Item{
			{Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 2},
			{Product: "Ikura", UnitPrice: 3100 * order.Cent, Quantity: 1, Discount: 5},
		},
	})
}

func (g *guide) pay(ctx context.Context) error {
	g.say("2. Pay it. In that very moment a colleague adds a line, and comes first:")
	elsewhere := g.repository(nil) // as another process has the orders
	p := &contested{command: order.Pay{}, colleague: func() error {
		return g.executeIn(ctx, elsewhere, order.AddLine{Item: order.Item{
			Product: "Tofu", UnitPrice: 2325 * order.Cent, Quantity: 4,
		}})
	}}
	if err := g.execute(ctx, p); err != nil {
		return err
	}
	fmt.Fprintf(g.w, "  The payment decided %d times: on %s, which the log refused because the order\n"+
		"  had changed, and on %s, which is what the customer pays.\n", len(p.amounts), p.amounts[0], p.amounts[1])
	return nil
}

func (g *guide) ship(ctx context.Context) error {
	g.say("3. Ship it the next day.")
	g.clock = g.clock.Add(24 * time.Hour)
	return g.execute(ctx, order.Ship{})
}

func (g *guide) cancel(ctx context.Context) error {
	g.say("4. Cancel it. A rule refuses, and nothing is stored:")
	err := g.execute(ctx, order.Cancel{Reason: "changed my mind"})
	if !errors.Is(err, order.ErrShipped) {
		return fmt.Errorf("the cancellation was not refused for being late: %w", err)
	}
	fmt.Fprintf(g.w, "  %v\n", err)
	return nil
}

func (g *guide) lookBack(ctx context.Context) error {
	g.say("5. Its history, which is all that is stored. A commit has one position in the log:")
	if err := g.printHistory(ctx, g.w, tourID); err != nil {
		return err
	}
	g.say("6. The order as it was before the colleague came:")
	return g.sumAt(ctx, 3)
}

func (g *guide) sumAt(ctx context.Context, version uint64) error {
	o, _, err := g.orders.LoadVersion(ctx, tourID, version)
	if err != nil {
		return err
	}
	return g.sum(o, version)
}

// restart stops the server and reads everything from the disk.
func (g *guide) restart(ctx context.Context, dir string) error {
	g.say("7. Stop the server, start it again on the folder, and ask the same:")
	if err := g.Close(); err != nil {
		return err
	}
	s, err := openShop(ctx, dir)
	if err != nil {
		return err
	}
	g.shop = s
	if err := g.printHistory(ctx, g.w, tourID); err != nil {
		return err
	}
	return g.sumAt(ctx, 3)
}
