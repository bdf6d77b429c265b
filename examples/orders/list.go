package main

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

const listUsage = `List a read model.

Usage: orders list NAME [-on-poison stop|park] [-on-unknown refuse|ignore] [-data DIR]

Its name is one of

    sales-by-day         orders and revenue, for the day of their placement
    sales-by-customer    the same for each customer
    open-orders          what is to be shipped, and by when, the soonest first
    late-orders          what was shipped after that, and how many days

Orders and lines are all, and revenue leaves out the orders that are cancelled.
Gross is before discounts, net after.

Example:

    go run ./examples/orders list open-orders
`

func list(ctx context.Context, c console, args []string) error {
	fs := newFlags("list", listUsage)
	data := fs.String("data", defaultData, "the `folder` of the log")
	var p policy
	p.flags(fs)
	names, err := parseFlags(fs, c, args, "NAME")
	if err != nil {
		return helped(err)
	}
	for _, r := range readModels {
		if r.name != names[0] {
			continue
		}
		return look(ctx, c, *data, p, func(m *models) error {
			return m.file.View(r.name, func(b *bbolt.Bucket) error { return r.list(c.out, b) })
		})
	}
	return wrongUsage(fs, "there is no read model %q", names[0])
}

// listSales returns what lists a read model of sales by something.
func listSales(by string) func(io.Writer, *bbolt.Bucket) error {
	return func(w io.Writer, b *bbolt.Bucket) error {
		fmt.Fprintf(w, "%-12s %7s %10s %6s %14s %16s\n", by, "orders", "cancelled", "lines", "gross", "net")
		return each(b, salesPrefix, func(of string, s sales) error {
			_, err := fmt.Fprintf(w, "%-12s %7d %10d %6d %14s %16s\n", of, s.Orders, s.Cancelled, s.Lines, s.Gross.Fixed(2), s.Net.Fixed(4))
			return err
		})
	}
}

func listOpen(w io.Writer, b *bbolt.Bucket) error {
	fmt.Fprintf(w, "%-11s %-12s %s\n", "wanted by", "order", "customer")
	return each(b, openPrefix, func(_ string, o openOrder) error {
		_, err := fmt.Fprintf(w, "%-11s %-12s %s\n", o.Wanted.Format(dayForm), o.ID, o.Customer)
		return err
	})
}

func listLate(w io.Writer, b *bbolt.Bucket) error {
	fmt.Fprintf(w, "%-11s %-11s %9s  %-12s %s\n", "wanted by", "shipped", "days late", "order", "customer")
	return each(b, latePrefix, func(_ string, d delivery) error {
		_, err := fmt.Fprintf(w, "%-11s %-11s %9d  %-12s %s\n", d.Wanted.Format(dayForm), d.Shipped.Format(dayForm), d.days(), d.ID, d.Customer)
		return err
	})
}
