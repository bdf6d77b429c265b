package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

const reportUsage = `Print figures of all orders.

Usage: orders report [-json] [-on-poison stop|park] [-on-unknown refuse|ignore]
                     [-data DIR]

Revenue leaves out cancelled orders, and so does the list of the best customers;
the other figures count them. Gross is before discounts, net after. Lines are
those that an order has now. An order is late if it was shipped on a day after
the required one.

They come from the read models that 'orders list' lists. These are kept in the
file read-models in the folder of the log, and first brought up to date; without
the file they are made anew. An order with an event that cannot be handled stops
that, unless it is to be parked: then the order stays as it was before, whatever
else happens to it, until 'orders retry' or 'orders discard' says how it goes on.

Examples:

    go run ./examples/orders report
    go run ./examples/orders report -json
`

func report(ctx context.Context, c console, args []string) error {
	fs := newFlags("report", reportUsage)
	data := fs.String("data", defaultData, "the `folder` of the log")
	asJSON := fs.Bool("json", false, "print JSON, not a table")
	var p policy
	p.flags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return helped(err)
	}
	return look(ctx, c, *data, p, func(m *models) error {
		f, err := m.figures()
		if err != nil {
			return err
		}
		if *asJSON {
			enc := json.NewEncoder(c.out)
			enc.SetIndent("", "  ")
			return enc.Encode(f)
		}
		f.print(c.out)
		return nil
	})
}

func (f *figures) print(w io.Writer) {
	for _, row := range []struct {
		name  string
		count int
	}{
		{"orders", f.Orders},
		{"lines", f.Lines},
		{"customers", f.Customers},
		{"shipped", f.Shipped},
		{"open", f.Open},
		{"late", f.Late},
	} {
		fmt.Fprintf(w, "%-14s %14d\n", row.name, row.count)
	}
	fmt.Fprintf(w, "%-14s %17s\n", "gross revenue", f.GrossRevenue)
	fmt.Fprintf(w, "%-14s %19s\n", "net revenue", f.NetRevenue)
	if len(f.Top) > 0 {
		fmt.Fprintf(w, "\nbest customers, net\n")
	}
	for _, t := range f.Top {
		fmt.Fprintf(w, "  %-12s %19s\n", t.Customer, t.Net)
	}
}
