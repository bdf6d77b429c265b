package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/order"
	"go.etcd.io/bbolt"
)

// ask shows a read model: that of who writes, and reads it then, and how it is
// made anew.
func (g *guide) ask(ctx context.Context) (err error) {
	g.say("9. What each customer bought, in a read model: write, wait for that, and look.")
	m, err := g.openModels(policy{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	defer m.start(ctx)()
	ikura := order.AddLine{Item: order.Item{Product: "Ikura", UnitPrice: 3100 * order.Cent, Quantity: 1}}
	_, at, err := g.orders.Execute(ctx, hurryID, ikura, &aggregate.ExecuteOptions{Time: g.clock})
	if err != nil {
		return err
	}
	customers := m.projections[byCustomer]
	if err := customers.Wait(ctx, at); err != nil {
		return err
	}
	if err := g.bought(m); err != nil {
		return err
	}
	rebuilt, err := customers.Rebuild(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(g.w, "  One call makes it anew, from %d commits in %s, while the old one is in use:\n",
		rebuilt.Commits, rebuilt.Took.Round(100*time.Microsecond))
	return g.bought(m)
}

// bought says what the customer of both orders bought.
func (g *guide) bought(m *models) error {
	return m.file.View(byCustomer, func(b *bbolt.Bucket) error {
		s, _, err := get[sales](b, salesPrefix+"ALFKI")
		if err == nil {
			fmt.Fprintf(g.w, "  ALFKI: %d orders, %d lines, %s\n", s.Orders, s.Lines, s.Net)
		}
		return err
	})
}
