package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/headwater-go/headwater/internal/terminal"
	"github.com/nats-io/nats.go/jetstream"
)

const projectionsUsage = `List the durable consumers of a log, and how far each is: those of projections,
and any other.

Usage: headwater projections [-data DIR | -server URL] [-log NAME]

Done is the position up to which the reader says that it has handled everything,
and sent the one up to which the server has delivered. Lag is how many commits it
has not handled, those included that were sent. Idle is how long ago the server
sent something or was told that it is done, and pulls are the requests for more
that wait at the server. A reader is pinned if the server sends to it alone, and
bound if it is a push consumer's.

This is what the server knows. A projection's own checkpoint is in its read model,
and is never behind by more than it has done in the last moments; the program that
has the read model can list it, see package replay.

Examples:

    headwater projections -data orders-data
    headwater projections -log shop -json -server nats://127.0.0.1:4222
`

func listProjections(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("projections", projectionsUsage)
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	// The log itself need not be sound, nor one that this program can read.
	o, err := where.connect(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	name, err := where.choose(ctx, o, false)
	if err != nil {
		return err
	}
	infos, err := durables(ctx, o, name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.out)
	show := printReader
	if *asJSON {
		show = printReaderJSON
	} else {
		fmt.Fprintf(out, readerForm, "done", "sent", "lag", "idle", "pulls", "reader", "projection", "consumer")
	}
	for _, info := range infos {
		show(out, readerOf(name, info))
	}
	return out.Flush()
}

// durables returns the durable consumers of a log, in the order of their names.
func durables(ctx context.Context, o *opened, log string) (list []*jetstream.ConsumerInfo, err error) {
	err = o.ask(ctx, func(ctx context.Context) error {
		stream, err := o.js.Stream(ctx, log)
		if err != nil {
			return err
		}
		lister := stream.ListConsumers(ctx)
		for info := range lister.Info() {
			if info.Config.Durable != "" {
				list = append(list, info)
			}
		}
		return lister.Err()
	})
	if err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the consumers of log %s: %w", log, err)
	}
	slices.SortFunc(list, func(a, b *jetstream.ConsumerInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// reader is a consumer in the list.
type reader struct {
	Log        string     `json:"log"`
	Consumer   string     `json:"consumer"`
	Projection string     `json:"projection,omitempty"`
	Done       uint64     `json:"done"` // position
	Sent       uint64     `json:"sent"` // position
	Lag        uint64     `json:"lag"`
	Pending    uint64     `json:"pending"` // of the lag, what was not sent
	Active     *time.Time `json:"active,omitempty"`
	Idle       float64    `json:"idleSeconds"` // 0 if there was never anything
	Pulls      int        `json:"pulls"`
	Pinned     bool       `json:"pinned"`
	Bound      bool       `json:"bound"`
	Paused     bool       `json:"paused"`
}

func readerOf(log string, info *jetstream.ConsumerInfo) reader {
	r := reader{
		Log: log, Consumer: info.Name, Projection: info.Config.Metadata["headwater-projection"],
		Done: info.AckFloor.Stream, Sent: info.Delivered.Stream,
		Lag: info.NumPending + uint64(max(info.NumAckPending, 0)), Pending: info.NumPending,
		Active: later(info.Delivered.Last, info.AckFloor.Last),
		Pulls:  info.NumWaiting, Bound: info.PushBound, Paused: info.Paused,
	}
	if r.Active != nil {
		// Both are times of the server.
		r.Idle = max(info.TimeStamp.Sub(*r.Active), 0).Seconds()
	}
	for _, group := range info.PriorityGroups {
		r.Pinned = r.Pinned || group.PinnedClientID != ""
	}
	return r
}

func later(a, b *time.Time) *time.Time {
	if a == nil || b != nil && b.After(*a) {
		return b
	}
	return a
}

const readerForm = "%10s  %10s  %10s  %9s  %5s  %-7s  %-24s  %s\n"

func printReader(w io.Writer, r reader) {
	idle := "-"
	if r.Active != nil {
		idle = time.Duration(r.Idle * float64(time.Second)).Round(time.Second).String()
	}
	how := "-"
	switch {
	case r.Paused:
		how = "paused"
	case r.Pinned:
		how = "pinned"
	case r.Bound:
		how = "bound"
	}
	fmt.Fprintf(w, readerForm, fmt.Sprint(r.Done), fmt.Sprint(r.Sent), fmt.Sprint(r.Lag), idle, fmt.Sprint(r.Pulls), how,
		terminal.Quote(cmp.Or(r.Projection, "-")), terminal.Quote(r.Consumer))
}

// printReaderJSON leaves a failure to the writer, which keeps it.
func printReaderJSON(w io.Writer, r reader) { _ = printJSON(w, r) }
