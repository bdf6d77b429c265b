package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

const verifyUsage = `Read a whole log and check that nothing of it is lost, altered, reordered or
inserted.

Usage: headwater verify [-data DIR | -server URL] [-log NAME]

Each place that is not as its writer made it is a line. The exit status is 1 if
there is any. docs/operations.md says what to do then. It is safe while others
append, and takes memory for each stream, not for each event.

With -data a server is started on the folder. If one was killed there before, the
new one reads the last file of each log anew, and cuts it off at a message that
is damaged, before anything can be verified. A log that ends at a lower position
than it did lost its end; programs notice by their high-water marks. To be on the
safe side verify a copy of the folder.

Examples:

    headwater verify -data orders-data
    headwater verify -log shop -json -server nats://127.0.0.1:4222
`

func verify(ctx context.Context, c console, args []string) (err error) {
	fs := newFlags("verify", verifyUsage)
	asJSON := jsonFlag(fs)
	where := logFlags(fs)
	if _, err := parseFlags(fs, c, args); err != nil {
		return err
	}
	// A log that is known to be damaged is to be looked at all the same.
	o, err := where.visit(ctx, &eventstore.Options{AllowUnsafe: []string{"damage"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return verifyLog(ctx, c, o.log, *asJSON)
}

func verifyLog(ctx context.Context, c console, log *eventstore.Store, asJSON bool) error {
	bar := terminal.NewProgress(c.err, "positions")
	out := bufio.NewWriter(c.out)
	say := findings{out, asJSON}
	report, err := log.Verify(ctx, &eventstore.VerifyOptions{
		OnProgress: func(r eventstore.Report) { bar.Show(r.Position, r.End) },
		OnDamage: func(d *eventstore.CorruptionError) {
			bar.Clear()
			say.damage(d)
		},
	})
	bar.Clear()
	say.report(log.Name(), report)
	if flushed := out.Flush(); err != nil || flushed != nil {
		return errors.Join(err, flushed)
	}
	if report.Damaged > 0 {
		return fmt.Errorf("log %s is damaged in %d places", log.Name(), report.Damaged)
	}
	return nil
}

// findings prints what a verification finds. That it cannot, its buffer keeps
// for the end.
type findings struct {
	w      io.Writer
	asJSON bool
}

func (f findings) damage(d *eventstore.CorruptionError) {
	if f.asJSON {
		_ = printJSON(f.w, struct {
			Log      string `json:"log"`
			Position uint64 `json:"position"`
			Kind     string `json:"kind,omitempty"`
			ID       string `json:"id,omitempty"`
			Reason   string `json:"reason"`
		}{d.Log, d.Position, d.Stream.Kind, d.Stream.ID, d.Reason})
		return
	}
	where := fmt.Sprintf("position %d", d.Position)
	if d.Stream != (eventstore.StreamID{}) {
		where += ", stream " + terminal.Quote(d.Stream.String())
	}
	fmt.Fprintf(f.w, "%s: %s\n", where, terminal.Quote(d.Reason))
}

func (f findings) report(log string, r *eventstore.Report) {
	if f.asJSON {
		_ = printJSON(f.w, struct {
			Log      string `json:"log"`
			Position uint64 `json:"position"`
			Streams  uint64 `json:"streams"`
			Commits  uint64 `json:"commits"`
			Events   uint64 `json:"events"`
			Damaged  uint64 `json:"damaged"`
		}{log, r.Position, r.Streams, r.Commits, r.Events, r.Damaged})
		return
	}
	fmt.Fprintf(f.w, "log %s up to position %d: %d streams, %d commits, %d events, damaged places: %d\n",
		log, r.Position, r.Streams, r.Commits, r.Events, r.Damaged)
}
