package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const importUsage = `Place and ship the orders of two CSV files, in the form of the Northwind sample
database.

Usage: orders import -orders FILE -lines FILE [-data DIR]

The orders have the columns orderID, customerID, orderDate, requiredDate and
shippedDate (NULL: not shipped); the lines have orderID, productID, unitPrice,
quantity and discount. Others are ignored. A row is a line of the file.

An order is one commit, at its date, and its shipping another. Importing again
adds what is not there yet and nothing twice, so an import that was broken off,
by whatever, is finished by the same command.

A bad row is reported with its file and line. Nothing of its order is written;
the others are, and the exit status is 1.

Example:

    go run ./examples/orders import -orders orders.csv -lines order-details.csv
`

func importOrders(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("import", importUsage)
	ordersFile := fs.String("orders", "", "the `file` of the orders")
	linesFile := fs.String("lines", "", "the `file` of their lines")
	data := fs.String("data", defaultData, "the `folder` of the log, made if there is none")
	if _, err := parseFlags(fs, c, args); err != nil {
		return helped(err)
	}
	if *ordersFile == "" || *linesFile == "" {
		return wrongUsage(fs, "import needs both -orders and -lines")
	}
	b, err := readBatch(*ordersFile, *linesFile)
	if err != nil {
		return err
	}
	for _, p := range b.problems {
		fmt.Fprintln(c.err, p)
	}
	s, err := openShop(ctx, *data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return importBatch(ctx, c, s, b)
}

// importBatch writes what is good of a batch and says how it went.
func importBatch(ctx context.Context, c console, s *shop, b *batch) error {
	entries := b.good()
	im := &importer{orders: s.orders, console: c, progress: newProgress(c.out, len(entries))}
	start := time.Now()
	err := im.run(ctx, entries)
	im.progress.clear()
	im.printTotals(time.Since(start))
	switch rows := len(b.problems) + im.refused; {
	case err != nil:
		return err
	case rows > 0:
		leftOut := len(b.entries) - len(entries) + im.refused
		return fmt.Errorf("bad rows: %d, orders left out: %d", rows, leftOut)
	}
	return nil
}

func (im *importer) printTotals(took time.Duration) {
	w := im.console.out
	fmt.Fprintf(w, "%-8s %10s  %13s\n", "", "added", "already there")
	for _, t := range []struct {
		name string
		tally
	}{
		{"orders", im.placed}, {"lines", im.lines}, {"events", im.events},
	} {
		fmt.Fprintf(w, "%-8s %10d  %13d\n", t.name, t.added, t.present)
	}
	if im.events.added == 0 {
		fmt.Fprintln(w, "nothing new")
	}
	fmt.Fprintf(w, "%d orders in %v, %.0f a second\n",
		im.done, took.Round(time.Millisecond), float64(im.done)/took.Seconds())
}
