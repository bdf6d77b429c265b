package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

const historyUsage = `Print the events of an order, oldest first.

Usage: orders history ID [-data DIR]

Events with the same position in the log were stored together, as one commit.

Example:

    go run ./examples/orders history 10248
`

const timeForm = "2006-01-02 15:04"

func history(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("history", historyUsage)
	data := fs.String("data", defaultData, "the `folder` of the log")
	ids, err := parseFlags(fs, c, args, "ID")
	if err != nil {
		return helped(err)
	}
	s, err := visitShop(ctx, *data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.printHistory(ctx, c.out, ids[0])
}

// printHistory prints the events of an order, and is an error if it has none.
func (s *shop) printHistory(ctx context.Context, w io.Writer, id string) error {
	empty := true
	for e, err := range s.log.Read(ctx, eventstore.StreamID{Kind: order.Kind, ID: id}, nil) {
		if err != nil {
			return err
		}
		event, err := order.Codec.Decode(e)
		if err != nil {
			return err
		}
		if empty {
			fmt.Fprintf(w, "  version  position  %-16s  what\n", "when (UTC)")
			empty = false
		}
		what := fmt.Sprintf("%-18s  %s", e.Type, describe(event))
		fmt.Fprintf(w, "  %7d  %8d  %s  %s\n",
			e.Version, e.Position, e.Time.Format(timeForm), strings.TrimSpace(what))
	}
	if empty {
		return fmt.Errorf("there is no order %q in the log", id)
	}
	return nil
}

// describe says in words what an event holds.
func describe(event order.Event) string {
	switch e := event.(type) {
	case order.Placed:
		text := fmt.Sprintf("by %s, wanted by %s", e.Customer, e.Required.Format(dayForm))
		if e.OnAccount {
			text += ", on account"
		}
		return text
	case order.LineAdded:
		return fmt.Sprintf("line %d: %s", e.Number, describeItem(e.Item))
	case order.LineRemoved:
		return fmt.Sprintf("line %d", e.Number)
	case order.Paid:
		return e.Amount.String()
	case order.Cancelled:
		return e.Reason
	}
	return ""
}

func describeItem(i order.Item) string {
	text := fmt.Sprintf("%d × %s at %s", i.Quantity, i.Product, i.UnitPrice)
	if i.Discount > 0 {
		text += fmt.Sprintf(" less %d%%", i.Discount)
	}
	return text
}
