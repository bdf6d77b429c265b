// Orders is an order book kept as events: an example of how a program uses
// Headwater, and a tool for trying it on real data.
//
//	go run ./examples/orders             # a guided run, on a folder of its own
//	go run ./examples/orders -h          # everything else
//
// The domain is in package order. The files here are what a program needs
// around it: a store (shop.go), a guided run (tour.go), an import that can be
// broken off at any moment and repeated (import.go), and ways to look at what
// is there (show.go, history.go). What is asked of all orders is answered by
// read models (models.go; sales.go, open.go and late.go), which projections keep
// up to date (list.go, report.go), and the commands of package replay are about
// (replay.go).
//
// The same orders as services begin in serve.go: one for orders (serve_orders.go)
// and one for payments (serve_payments.go, provider.go, package payment), which
// talk through events and commands. A process manager leads each order to its
// payment (package checkout, manager.go). The page and the HTTP API are in package
// web, and package load places orders there (load.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `Orders keeps an order book as events.

Usage:

    orders                  a guided run, on a new folder of its own
    orders COMMAND [flags]

Commands:

    import         place and ship the orders of two CSV files
    show           print an order, as it is or as it was
    history        print the events of an order
    report         print figures of all orders
    list           list a read model: sales by day or customer, open or late orders
    serve          answer commands and queries over NATS: orders, and their payments
    load           place orders over HTTP, as many clients do
%s
'orders COMMAND -h' tells more about one. The exit status is 0, 1 if something
failed, 2 if the command line is wrong, and 130 after Ctrl-C.

Examples:

    go run ./examples/orders
    go run ./examples/orders import -orders orders.csv -lines order-details.csv
    go run ./examples/orders history 10248
    go run ./examples/orders report -json
    go run ./examples/orders list open-orders
    go run ./examples/orders replay sales-by-day
    go run ./examples/orders serve -http localhost:8080
`

// console is where a command writes: what it was asked for, and complaints.
type console struct {
	out, err io.Writer
}

var commands = map[string]func(context.Context, console, []string) error{
	"import":  importOrders,
	"show":    show,
	"history": history,
	"report":  report,
	"list":    list,
	"serve":   serve,
	"load":    placeLoad,
}

func main() {
	os.Exit(run(os.Args[1:], console{os.Stdout, os.Stderr}))
}

// run runs the program and returns its exit status.
func run(args []string, c console) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C asks, a second one ends the program at once.
	context.AfterFunc(ctx, stop)

	err := dispatch(ctx, c, args)
	var wrong *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(c.err, "orders: %v\nTry 'orders %s'.\n", err, wrong.help)
		return 2
	}
	fmt.Fprintf(c.err, "orders: %v\n", err)
	if ctx.Err() != nil {
		return 130 // as a shell says that a program ended by Ctrl-C
	}
	return 1
}

func dispatch(ctx context.Context, c console, args []string) error {
	if len(args) == 0 {
		return tour(ctx, c)
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		_, err := fmt.Fprintf(c.out, usage, replayCommands(c).Usage())
		return err
	}
	if replays := replayCommands(c); replays.Has(args[0]) {
		return replayed(ctx, replays, args)
	}
	command, ok := commands[args[0]]
	if !ok {
		return &usageError{help: "-h", problem: fmt.Sprintf("there is no command %q", args[0])}
	}
	return command(ctx, c, args[1:])
}

// usageError is a command line that makes no sense.
type usageError struct {
	help    string // arguments that print the help to read
	problem string
}

func (e *usageError) Error() string { return e.problem }
