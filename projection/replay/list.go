package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
	"github.com/headwater-go/headwater/projection"
)

const listUsage = `List the projections.

Usage: PROGRAM projections [-json]

Position is up to where a generation of the read model has handled the log, and lag
how many commits come after it. The live generation is the one that readers see.
Parked are the streams of which something could not be handled.

Example:

    PROGRAM projections
`

func (r *run) list(ctx context.Context, args []string) error {
	r.define(listUsage)
	if _, err := r.parse(args); err != nil {
		return err
	}
	return r.open(ctx, func(all []Projection) (err error) {
		out := bufio.NewWriter(r.out)
		if !r.json {
			fmt.Fprintf(out, "%-24s %10s  %-8s %10s %10s %7s\n", "projection", "generation", "state", "position", "lag", "parked")
		}
		for _, p := range all {
			err = errors.Join(err, r.listOne(ctx, out, p)) // the others may be well
		}
		return errors.Join(out.Flush(), err)
	})
}

// listed is a generation in the list.
type listed struct {
	Projection string    `json:"projection"`
	Generation uint64    `json:"generation"` // 0: it never ran
	State      string    `json:"state"`
	Version    int       `json:"version"`
	Created    time.Time `json:"created,omitzero"`
	Position   uint64    `json:"position"`
	Lag        uint64    `json:"lag"`
	Parked     int       `json:"parked"`
}

func (r *run) listOne(ctx context.Context, out io.Writer, p Projection) error {
	last, err := p.Store().Position(ctx)
	if err != nil {
		return err
	}
	generations, err := p.Generations(ctx)
	if err != nil {
		return err
	}
	lines := []listed{{Projection: p.Name(), State: "new", Lag: last}}
	if len(generations) > 0 {
		lines = nil
	}
	for _, g := range generations {
		lines = append(lines, listed{
			p.Name(), g.Number, stateOf(g), g.Version, g.Created, g.Position, last - min(last, g.Position), g.Parked,
		})
	}
	for _, l := range lines {
		if r.json {
			err = printJSON(out, l)
		} else {
			_, err = fmt.Fprintf(out, "%-24s %10d  %-8s %10d %10d %7d\n", l.Projection, l.Generation, l.State, l.Position, l.Lag, l.Parked)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func stateOf(g projection.Generation) string {
	switch {
	case g.Live:
		return "live"
	case g.Building:
		return "building"
	}
	return "kept"
}

const parkedUsage = `List the streams of which something could not be handled.

Usage: PROGRAM parked [NAME] [-json]

Position and version are those of the commit that could not be handled. It waits, and
every later commit of the stream behind it, until it is retried or discarded.

Examples:

    PROGRAM parked
    PROGRAM parked sales-by-day -json
`

// waits is a parked stream in the list.
type waits struct {
	Projection string    `json:"projection"`
	Kind       string    `json:"kind"`
	ID         string    `json:"id"`
	Position   uint64    `json:"position"`
	Version    uint64    `json:"version"`
	Waiting    uint64    `json:"waiting"`
	Attempts   int       `json:"attempts"`
	Since      time.Time `json:"since"`
	Reason     string    `json:"reason"`
}

func (r *run) parked(ctx context.Context, args []string) error {
	r.define(parkedUsage)
	names, err := r.parse(args, "[NAME]")
	if err != nil {
		return err
	}
	show := func(all ...Projection) (err error) {
		r.parkedHeader()
		for _, p := range all {
			list, failed := p.Parked(ctx)
			err = errors.Join(err, failed, r.printParked(p.Name(), list))
		}
		return err
	}
	if len(names) == 1 {
		return r.openOne(ctx, names[0], func(p Projection) error { return show(p) })
	}
	return r.open(ctx, func(all []Projection) error { return show(all...) })
}

const parkedForm = "%-24s %10s %8s %8s %8s  %-20s  %s\n"

func (r *run) parkedHeader() {
	if !r.json {
		fmt.Fprintf(r.out, parkedForm, "projection", "position", "version", "waiting", "attempts", "since (UTC)", "stream and reason")
	}
}

func (r *run) printParked(name string, list []projection.Parked) error {
	for _, p := range list {
		var err error
		if r.json {
			err = printJSON(r.out, waits{name, p.Stream.Kind, p.Stream.ID, p.Position, p.Version, p.Waiting, p.Attempts, p.Since, p.Reason})
		} else {
			reason, _, _ := strings.Cut(p.Reason, "\n")
			_, err = fmt.Fprintf(r.out, parkedForm, name, fmt.Sprint(p.Position), fmt.Sprint(p.Version), fmt.Sprint(p.Waiting), fmt.Sprint(p.Attempts),
				p.Since.UTC().Format("2006-01-02T15:04:05Z"), terminal.Quote(p.Stream.String())+": "+terminal.Quote(reason))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const retryUsage = `Handle what is parked.

Usage: PROGRAM retry NAME [KIND/ID] [-json]

Without a stream all that the projection has parked is tried. If a commit can still not
be handled the stream stays parked there, and the exit status is 1.

Examples:

    PROGRAM retry sales-by-day order/42
    PROGRAM retry sales-by-day
`

func (r *run) retry(ctx context.Context, args []string) error {
	r.define(retryUsage)
	found, err := r.parse(args, "NAME", "[KIND/ID]")
	if err != nil {
		return err
	}
	var stream eventstore.StreamID
	if len(found) == 2 {
		if stream, err = r.parseStream(found[1]); err != nil {
			return err
		}
	}
	return r.openOne(ctx, found[0], func(p Projection) error {
		if len(found) == 2 {
			return r.release(p.Name(), stream, "retried", p.Retry(ctx, stream))
		}
		return r.retryAll(ctx, p)
	})
}

func (r *run) retryAll(ctx context.Context, p Projection) error {
	list, err := p.Parked(ctx)
	if err != nil {
		return err
	}
	failed := 0
	for _, one := range list {
		err := r.release(p.Name(), one.Stream, "retried", p.Retry(ctx, one.Stream))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, projection.ErrParked):
			fmt.Fprintf(r.err, "%s\n", terminal.Clean(err.Error()))
			failed++
		case errors.Is(err, projection.ErrNotParked):
			// Another process dealt with it since.
		case err != nil:
			return err // nothing that the handlers said: the others would fare the same
		}
	}
	if failed > 0 {
		return fmt.Errorf("of %d parked streams %d cannot be handled", len(list), failed)
	}
	return nil
}

// released is what became of a parked stream.
type released struct {
	Projection string `json:"projection"`
	Kind       string `json:"kind"`
	ID         string `json:"id"`
	Result     string `json:"result"` // "parked": it still is, at that position
	Position   uint64 `json:"position,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// release says that a stream is not parked any more, if it is not.
func (r *run) release(name string, stream eventstore.StreamID, what string, err error) error {
	var parked *projection.ParkedError
	switch {
	case r.json && errors.As(err, &parked):
		return errors.Join(err, printJSON(r.out, released{name, stream.Kind, stream.ID, "parked", parked.Position, parked.Reason}))
	case err != nil:
		return err
	case r.json:
		return printJSON(r.out, released{name, stream.Kind, stream.ID, what, 0, ""})
	}
	_, err = fmt.Fprintf(r.out, "%s: %s, %s\n", name, terminal.Quote(stream.String()), what)
	return err
}

const discardUsage = `Leave out a commit that could not be handled.

Usage: PROGRAM discard NAME KIND/ID [-json]

The commit is not in the read model then; what waits behind it is handled. A replay
comes to the commit again.

Example:

    PROGRAM discard sales-by-day order/42
`

func (r *run) discard(ctx context.Context, args []string) error {
	r.define(discardUsage)
	found, err := r.parse(args, "NAME", "KIND/ID")
	if err != nil {
		return err
	}
	stream, err := r.parseStream(found[1])
	if err != nil {
		return err
	}
	return r.openOne(ctx, found[0], func(p Projection) error {
		err := p.Discard(ctx, stream)
		if errors.Is(err, projection.ErrParked) {
			err = fmt.Errorf("the commit is left out, but one behind it cannot be handled: %w", err)
		}
		return r.release(p.Name(), stream, "discarded", err)
	})
}

func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
