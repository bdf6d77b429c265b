package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/internal/terminal"
	"github.com/headwater-go/headwater/projection"
)

const replayUsage = `Build a read model anew from the log.

Usage: PROGRAM replay NAME [-keep] [-throttle N] [-restart] [-json]
       PROGRAM replay NAME [-to POSITION] [-dry-run] [-throttle N] [-restart] [-json]
       PROGRAM replay NAME -stream KIND/ID
       PROGRAM replay NAME -show GENERATION
       PROGRAM replay NAME -remove GENERATION

The new read model is a generation of its own. Readers see the old one until the new
one is where that is; then it takes its place. After Ctrl-C the same command goes on
from where it was, unless one with another -to or -dry-run was given between.

With -to it ends after a position, and stays beside the one in use, until it is shown
or removed. With -dry-run it is removed in the end, and what could not be handled is
listed. With -stream only what one stream made is made anew, in the read model in use.
-show makes a generation that was kept the one that readers see, and -remove removes
one.

Examples:

    PROGRAM replay sales-by-day
    PROGRAM replay sales-by-day -dry-run
    PROGRAM replay sales-by-day -keep -throttle 5000
    PROGRAM replay sales-by-day -stream order/42
`

// order is what a replay is to do.
type order struct {
	projection.RebuildOptions
	stream       string
	show, remove uint64
}

func (r *run) replay(ctx context.Context, args []string) error {
	fs := r.define(replayUsage)
	var o order
	fs.Uint64Var(&o.To, "to", 0, "end after this `position`, and leave it beside the one in use")
	fs.BoolVar(&o.DryRun, "dry-run", false, "see whether it can be done, and change nothing")
	fs.IntVar(&o.Throttle, "throttle", 0, "read at most so `many` commits a second")
	fs.BoolVar(&o.Keep, "keep", false, "keep the read model that is in use now, to show it again")
	fs.BoolVar(&o.Restart, "restart", false, "begin anew, not where an earlier replay was broken off")
	fs.StringVar(&o.stream, "stream", "", "replay only what this `stream`, KIND/ID, made")
	fs.Uint64Var(&o.show, "show", 0, "make this `generation` the one in use")
	fs.Uint64Var(&o.remove, "remove", 0, "remove this `generation`")
	names, err := r.parse(args, "NAME")
	if err != nil {
		return err
	}
	do, err := r.order(&o)
	if err != nil {
		return err
	}
	return r.openOne(ctx, names[0], func(p Projection) error { return do(ctx, p) })
}

// order returns what is to be done, which is one thing.
func (r *run) order(o *order) (do func(context.Context, Projection) error, err error) {
	if err := r.check(o); err != nil {
		return nil, err
	}
	switch {
	case r.given("stream"):
		stream, err := r.parseStream(o.stream)
		return func(ctx context.Context, p Projection) error {
			return r.release(p.Name(), stream, "replayed", p.RebuildStream(ctx, stream))
		}, err
	case r.given("show"):
		return func(ctx context.Context, p Projection) error { return r.show(ctx, p, o.show) }, nil
	case r.given("remove"):
		return func(ctx context.Context, p Projection) error {
			return r.changed(p, o.remove, "removed", p.Remove(ctx, o.remove))
		}, nil
	}
	return func(ctx context.Context, p Projection) error { return r.rebuild(ctx, p, o.RebuildOptions) }, nil
}

// check refuses flags that make no sense, above all those which would let a replay
// replace a read model that was to be left alone: -to "$POSITION", where that is 0.
func (r *run) check(o *order) error {
	for _, alone := range []string{"stream", "show", "remove"} {
		for _, other := range []string{"to", "dry-run", "throttle", "keep", "restart", "stream", "show", "remove"} {
			if alone != other && r.given(alone) && r.given(other) {
				return r.wrong("-%s and -%s do not go together", alone, other)
			}
		}
	}
	if o.Keep && (o.DryRun || r.given("to")) {
		return r.wrong("-keep is about the read model that is replaced; with -dry-run or -to none is")
	}
	for name, ok := range map[string]bool{"to": o.To > 0, "throttle": o.Throttle > 0, "show": o.show > 0, "remove": o.remove > 0} {
		if r.given(name) && !ok {
			return r.wrong("-%s must be at least 1", name)
		}
	}
	return nil
}

// progressed is how far a replay is, as JSON.
type progressed struct {
	Type       string  `json:"type"` // "progress"
	Projection string  `json:"projection"`
	Generation uint64  `json:"generation"`
	Position   uint64  `json:"position"`
	Target     uint64  `json:"target"`
	Percent    float64 `json:"percent"`
	Rate       float64 `json:"rate"`      // commits a second
	Remaining  float64 `json:"remaining"` // seconds
}

// result is what a replay came to, as JSON.
type result struct {
	Type       string  `json:"type"` // "result"
	Projection string  `json:"projection"`
	Generation uint64  `json:"generation"`
	Position   uint64  `json:"position"`
	Commits    uint64  `json:"commits"`
	Events     int     `json:"events"`
	Parked     int     `json:"parked"`
	Seconds    float64 `json:"seconds"`
}

func (r *run) rebuild(ctx context.Context, p Projection, opts projection.RebuildOptions) error {
	bar := terminal.NewProgress(r.err, "commits")
	opts.Progress = func(now projection.Progress) {
		if r.json {
			_ = printJSON(r.out, progressed{
				"progress", now.Projection, now.Generation, now.Position, now.Target, now.Percent(), now.Rate, now.Remaining.Seconds(),
			})
			return
		}
		bar.Say(now.Position, now.Target, func() string { return describe(now) })
	}
	without := ""
	if opts.Restart {
		without = " without -restart"
	}
	done, err := p.Rebuild(ctx, &opts)
	bar.Clear()
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w; the same command%s goes on from there", err, without)
	}
	if errors.Is(err, projection.ErrStopped) {
		return fmt.Errorf("%w\nWhen the handler is mended the same command%s goes on from there", err, without)
	}
	if err != nil {
		return err
	}
	return r.finished(p, opts, done)
}

func describe(p projection.Progress) string {
	return fmt.Sprintf("%d of %d, %.0f%%, %.0f/s, %v to go", p.Position, p.Target, p.Percent(), p.Rate, p.Remaining.Round(time.Second))
}

func (r *run) finished(p Projection, opts projection.RebuildOptions, done projection.Rebuilt) (err error) {
	what := "in use now"
	switch {
	case opts.DryRun:
		what = "removed again"
	case opts.To > 0:
		what = "beside the one in use"
	}
	if r.json {
		err = printJSON(r.out, result{
			"result", p.Name(), done.Generation, done.Position, done.Commits, done.Events, len(done.Parked), done.Took.Seconds(),
		})
	} else {
		_, err = fmt.Fprintf(r.out, "%s: generation %d up to position %d, %s; %d events handled in %v, parked streams: %d\n",
			p.Name(), done.Generation, done.Position, what, done.Events, done.Took.Round(time.Millisecond), len(done.Parked))
	}
	if err != nil || !opts.DryRun || len(done.Parked) == 0 {
		return err
	}
	r.parkedHeader()
	return errors.Join(ErrParked, r.printParked(p.Name(), done.Parked))
}

// show refuses a generation that is not complete: readers would see a part of it.
func (r *run) show(ctx context.Context, p Projection, generation uint64) error {
	all, err := p.Generations(ctx)
	if err != nil {
		return err
	}
	for _, g := range all {
		if g.Number == generation && g.Building {
			return fmt.Errorf("projection %s: generation %d is not complete: a replay that was broken off makes it", p.Name(), generation)
		}
	}
	return r.changed(p, generation, "shown", p.Show(ctx, generation))
}

// changed says what was done to a generation.
func (r *run) changed(p Projection, generation uint64, what string, err error) error {
	if errors.Is(err, projection.ErrNoGeneration) {
		return fmt.Errorf("%w; '%s projections' lists them", err, r.Program)
	}
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.out, map[string]any{"projection": p.Name(), "generation": generation, "result": what})
	}
	_, err = fmt.Fprintf(r.out, "%s: generation %d, %s\n", p.Name(), generation, what)
	return err
}
