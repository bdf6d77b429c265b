package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// importer writes the entries of a batch.
type importer struct {
	orders   *aggregate.Repository[order.Order, order.Event]
	console  console
	progress *progress

	done                  int // orders that were dealt with
	refused               int // those of them that were not written
	placed, lines, events tally
}

type tally struct{ added, present int }

func (t *tally) add(n int, present bool) {
	if present {
		t.present += n
	} else {
		t.added += n
	}
}

// errDiffers is an order that the log has otherwise than the files.
var errDiffers = errors.New("it is there already, with another customer, date or lines; it stays as it is")

// run writes entries until the context ends. It finishes the order that it is
// at, so that it knows how far it got.
func (im *importer) run(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %d of %d orders; the same command goes on from here", im.done, len(entries))
		}
		switch err := im.write(context.WithoutCancel(ctx), e); {
		case isRefusal(err):
			im.progress.clear()
			fmt.Fprintln(im.console.err, problem{e.row.file, e.row.line, fmt.Sprintf("order %s: %v", e.id, err)})
			im.refused++
		case err != nil:
			return fmt.Errorf("stopped after %d of %d orders: %w", im.done, len(entries), err)
		}
		im.done++
		im.progress.show(im.done)
	}
	return nil
}

// isRefusal reports whether an error is about the one order.
func isRefusal(err error) bool {
	return errors.As(err, new(*aggregate.RejectedError)) || errors.Is(err, errDiffers) ||
		errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrTooLarge)
}

// write places an order, and ships it if it was shipped.
func (im *importer) write(ctx context.Context, e *entry) error {
	if err := im.place(ctx, e); err != nil {
		return err
	}
	if e.shipped.IsZero() {
		return nil
	}
	_, at, err := im.orders.Execute(ctx, e.id, order.Ship{}, e.options("ship", e.shipped))
	present := at.Replayed || errors.Is(err, order.ErrShipped)
	if err != nil && !present {
		return err
	}
	im.events.add(1, present)
	return nil
}

func (im *importer) place(ctx context.Context, e *entry) error {
	commit := 1 + len(e.place.Lines)
	o, at, err := im.orders.Execute(ctx, e.id, e.place, e.options("place", e.ordered))
	present := at.Replayed
	if errors.Is(err, order.ErrAlreadyPlaced) {
		// By another command, or so many commits ago that the id of this one is
		// not looked for any more. It is the same order if it began the same.
		o, _, err = im.orders.LoadVersion(ctx, e.id, uint64(commit))
		present = true
	}
	switch {
	case err != nil:
		return err
	case present && !e.begins(o):
		return errDiffers
	}
	im.placed.add(1, present)
	im.lines.add(len(e.place.Lines), present)
	im.events.add(commit, present)
	return nil
}

// options make a command one that is done once for its order, however often it
// is asked for, and date it.
func (e *entry) options(what string, when time.Time) *aggregate.ExecuteOptions {
	return &aggregate.ExecuteOptions{CommandID: "import-" + what + "-" + e.id, Time: when}
}

// begins reports whether an order as it was placed is this one.
func (e *entry) begins(placed order.Order) bool {
	events, err := e.place.Decide(order.Order{})
	var o order.Order
	for _, event := range events {
		o = o.Evolve(event)
	}
	return err == nil && reflect.DeepEqual(o, placed)
}
