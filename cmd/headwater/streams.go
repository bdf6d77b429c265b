package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

const streamsUsage = `List the streams of a log, in the order of their last commits.

Usage: headwater streams [-kind KIND] [-data DIR | -server URL] [-log NAME]

Version and position are those of the stream's last event; the time is when it
happened.

Examples:

    headwater streams -data orders-data
    headwater streams -kind order -json -server nats://127.0.0.1:4222
`

func listStreams(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("streams", streamsUsage)
	kind := fs.String("kind", "", "list the streams of this `kind` only")
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	o, err := where.visit(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	out := bufio.NewWriter(c.out)
	show := printHead
	if *asJSON {
		show = printHeadJSON
	} else {
		fmt.Fprintf(out, "%8s  %10s  %-24s  %s\n", "version", "position", "time (UTC)", "stream")
	}
	for head, err := range o.log.Streams(ctx, *kind, 0) {
		if err == nil {
			err = show(out, head)
		}
		if err != nil {
			return errors.Join(out.Flush(), err)
		}
	}
	return out.Flush()
}

func printHead(w io.Writer, head eventstore.StreamHead) error {
	at := head.Revision
	_, err := fmt.Fprintf(w, "%8d  %10d  %s  %s\n", at.Version, at.Position, formTime(head.Time), terminal.Quote(head.Stream.String()))
	return err
}

func printHeadJSON(w io.Writer, head eventstore.StreamHead) error {
	return printJSON(w, struct {
		Kind     string    `json:"kind"`
		ID       string    `json:"id"`
		Version  uint64    `json:"version"`
		Position uint64    `json:"position"`
		Commit   string    `json:"commit"`
		Time     time.Time `json:"time"`
		Recorded time.Time `json:"recorded"`
	}{
		head.Stream.Kind, head.Stream.ID,
		head.Revision.Version, head.Revision.Position, head.Revision.CommitID, head.Time, head.Recorded,
	})
}
