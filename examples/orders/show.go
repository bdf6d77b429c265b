package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/headwater-go/headwater/examples/orders/order"
)

const showUsage = `Print an order as it is, or as it was after one of its events.

Usage: orders show ID [-at VERSION] [-data DIR]

'orders history' lists the versions.

Examples:

    go run ./examples/orders show 10248
    go run ./examples/orders show 10248 -at 4
`

const dayForm = "2006-01-02"

func show(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("show", showUsage)
	data := fs.String("data", defaultData, "the `folder` of the log")
	at := fs.Uint64("at", 0, "the `version` to show (default the last)")
	ids, err := parseFlags(fs, c, args, "ID")
	if err != nil {
		return helped(err)
	}
	s, err := visitShop(ctx, *data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.show(ctx, c.out, ids[0], *at)
}

// show prints an order at a version, 0 for the last.
func (s *shop) show(ctx context.Context, w io.Writer, id string, version uint64) error {
	o, last, err := s.orders.Load(ctx, id)
	switch {
	case err != nil:
		return err
	case last.Version == 0:
		return fmt.Errorf("there is no order %q in the log", id)
	case version > last.Version:
		return fmt.Errorf("order %s has no version %d: its last is %d", id, version, last.Version)
	case version > 0 && version < last.Version:
		if o, _, err = s.orders.LoadVersion(ctx, id, version); err != nil {
			return err
		}
	default:
		version = last.Version
	}
	fmt.Fprintf(w, "order %s at version %d of %d\n", id, version, last.Version)
	return printOrder(w, o)
}

func printOrder(w io.Writer, o order.Order) error {
	gross, net, err := o.Amounts()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "  customer   %s\n", o.Customer)
	fmt.Fprintf(w, "  wanted by  %s\n", o.Required.Format(dayForm))
	fmt.Fprintf(w, "  state      %s\n", stage(o))
	for _, line := range o.Lines {
		fmt.Fprintf(w, "  line %-4d  %s\n", line.Number, describeItem(line.Item))
	}
	fmt.Fprintf(w, "  total      %s", net)
	if net != gross {
		fmt.Fprintf(w, " (%s before discounts)", gross)
	}
	fmt.Fprintln(w)
	return nil
}

// stage says how far an order has come.
func stage(o order.Order) string {
	text := "placed"
	switch {
	case o.Cancelled:
		text = "cancelled"
	case o.Shipped:
		text = "shipped"
	}
	switch {
	case o.Paid:
		return text + ", paid"
	case o.OnAccount:
		return text + ", on account"
	}
	return text + ", not paid"
}
