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

const catUsage = `Print the events of a stream, oldest first.

Usage: headwater cat KIND/ID [-from VERSION] [-to VERSION] [-backward]
                     [-data DIR | -server URL] [-log NAME]

Events with the same position were stored together, as one commit. Long data is
cut; -json prints each event whole, as a CloudEvent on a line.

Examples:

    headwater cat order/10248 -data orders-data
    headwater cat order/10248 -backward -data orders-data
    headwater cat order/10248 -from 3 -json -server nats://127.0.0.1:4222
`

func cat(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("cat", catUsage)
	var opts eventstore.ReadOptions
	fs.Uint64Var(&opts.From, "from", 0, "the first `version` to print (default the stream's first)")
	fs.Uint64Var(&opts.To, "to", 0, "the last `version` to print (default the stream's last)")
	fs.BoolVar(&opts.Backward, "backward", false, "print the last event first")
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	names, err := parseFlags(fs, c, args, "KIND/ID")
	if err != nil {
		return err
	}
	kind, id, ok := strings.Cut(names[0], "/")
	if !ok || kind == "" || id == "" {
		return wrongUsage(fs, "a stream is named KIND/ID, as order/42 is; not %q", names[0])
	}
	o, err := where.visit(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	out := bufio.NewWriter(c.out)
	err = printStream(ctx, out, o.log, eventstore.StreamID{Kind: kind, ID: id}, opts, *asJSON)
	return errors.Join(out.Flush(), err)
}

// printStream prints events of a stream, and is an error if there are none.
func printStream(ctx context.Context, w io.Writer, log *eventstore.Store, stream eventstore.StreamID, opts eventstore.ReadOptions, asJSON bool) error {
	empty := true
	for e, err := range log.Read(ctx, stream, &opts) {
		if err != nil {
			return err
		}
		if empty && !asJSON {
			fmt.Fprintf(w, "%8s  %10s  %-24s  %-20s  %s\n", "version", "position", "time (UTC)", "type", "data")
		}
		empty = false
		show := printStreamEvent
		if asJSON {
			show = printEvent
		}
		if err := show(w, e); err != nil {
			return err
		}
	}
	switch {
	case !empty:
		return nil
	case opts.From > 0 || opts.To > 0:
		return fmt.Errorf("stream %q has no such versions", stream)
	}
	return fmt.Errorf("stream %q has no events", stream)
}

func printStreamEvent(w io.Writer, e eventstore.Event) error {
	line := fmt.Sprintf("%8d  %10d  %s  %-20s  %s", e.Version, e.Position, formTime(e.Time), terminal.Quote(e.Type), describe(e.Data))
	_, err := fmt.Fprintln(w, strings.TrimRight(line, " "))
	return err
}
