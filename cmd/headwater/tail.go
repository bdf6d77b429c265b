package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

const tailUsage = `Print the events of a log as they are stored, until Ctrl-C.

Usage: headwater tail [-n N | -after POSITION] [-kind KIND]... [-type TYPE]...
                      [-data DIR | -server URL] [-log NAME]

It begins with what is stored from now on. Ending it by Ctrl-C is no failure.

Examples:

    headwater tail -server nats://127.0.0.1:4222
    headwater tail -n 10 -kind order -type order.placed -type order.shipped
    headwater tail -after 0 -json -data orders-data
`

func tail(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("tail", tailUsage)
	after := fs.Uint64("after", 0, "begin after this `position`; 0 is before the first")
	last := fs.Uint64("n", 0, "begin with the last `N` positions of the log")
	opts := eventstore.LogOptions{}
	kinds := listFlag(fs, "kind", "print events of streams of this `kind` only; may be repeated")
	types := listFlag(fs, "type", "print events of this `type` only; may be repeated")
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	if given(fs, "after") && given(fs, "n") {
		return wrongUsage(fs, "-after and -n are two beginnings; name one of them")
	}
	opts.Kinds, opts.Types = *kinds, *types
	o, err := where.visit(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	from := *after
	if !given(fs, "after") {
		end, err := o.log.Position(ctx)
		if err != nil {
			return err
		}
		from = end - min(end, *last)
	}
	return follow(ctx, c.out, o.log, from, opts, *asJSON)
}

// follow prints events until the context ends. Each commit is written when it is
// there.
func follow(ctx context.Context, w io.Writer, log *eventstore.Store, after uint64, opts eventstore.LogOptions, asJSON bool) error {
	out := bufio.NewWriter(w)
	show := printLogEvent
	if asJSON {
		show = printEvent
	} else {
		fmt.Fprintf(out, "%10s  %-24s  %-24s  %8s  %-20s  %s\n", "position", "time (UTC)", "stream", "version", "type", "data")
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for e, err := range log.Follow(ctx, after, &opts) {
		if err != nil && ctx.Err() != nil {
			return nil // it was asked to end
		}
		if err == nil {
			err = errors.Join(show(out, e), out.Flush())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printLogEvent(w io.Writer, e eventstore.Event) error {
	line := fmt.Sprintf("%10d  %s  %-24s  %8d  %-20s  %s", e.Position, formTime(e.Time),
		terminal.Quote(e.Stream.String()), e.Version, terminal.Quote(e.Type), describe(e.Data))
	_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
	return err
}
