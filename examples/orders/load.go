package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/headwater-go/headwater/examples/orders/load"
)

const loadUsage = `Place orders at the fronts that 'orders serve -http' has, as many clients at once do.

Usage: orders load [flags]

Most orders are paid and shipped; some have a card that is declined or never answers,
some are cancelled, and a few are refused. What a front does not answer is sent again
with its idempotency key, to the next one, so each order is placed once. The same seed
makes the same orders.

Example:

    go run ./examples/orders load -orders 1000 -clients 32
`

// placeLoad places orders over HTTP.
func placeLoad(ctx context.Context, c console, args []string) error {
	var l load.Config
	var urls string
	fs := newFlags("load", loadUsage)
	fs.StringVar(&urls, "urls", "http://localhost:8080", "`URLs` of fronts, separated by commas")
	fs.IntVar(&l.Orders, "orders", 100, "how many `orders` to place")
	fs.IntVar(&l.Clients, "clients", 8, "how many orders are in hand at a time")
	fs.Float64Var(&l.Rate, "rate", 0, "how many orders to begin a second (default as many as the clients can)")
	fs.Int64Var(&l.Seed, "seed", 1, "what everything follows from")
	if _, err := parseFlags(fs, c, args); err != nil {
		return helped(err)
	}
	l.URLs = strings.Split(urls, ",")
	report, err := load.Run(ctx, l)
	if report.Took == 0 && err != nil {
		return wrongUsage(fs, "%v", err)
	}
	_, printErr := fmt.Fprintln(c.out, report)
	return errors.Join(err, printErr)
}
