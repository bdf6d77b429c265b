// Package replay gives a program the commands for its projections: to see how they
// are, to rebuild their read models, and to deal with what is parked. A program adds
// them to its own in a few lines. Here it has a -data flag, and its read models are
// in a file:
//
//	func projections() *replay.Commands {
//		var data string
//		return &replay.Commands{
//			Program: "orders",
//			Flags: func(fs *flag.FlagSet) {
//				fs.StringVar(&data, "data", "orders-data", "the `folder` of the log")
//			},
//			Open: func(ctx context.Context) ([]replay.Projection, func() error, error) {
//				shop, err := openShop(ctx, data)
//				if err != nil {
//					return nil, nil, err
//				}
//				return []replay.Projection{shop.salesByDay, shop.openOrders}, shop.Close, nil
//			},
//		}
//	}
//
//	func run(ctx context.Context, args []string) error {
//		if commands := projections(); commands.Has(args[0]) {
//			return commands.Run(ctx, args)
//		}
//		… // the program's own commands
//	}
//
// The program ends the context at Ctrl-C, prints the error, and chooses the exit
// status: 2 where the error is a [UsageError], 130 where the context has ended, and
// otherwise 1.
//
// The commands are
//
//	projections                 how each projection is
//	replay NAME                 build its read model anew, beside the one in use
//	parked [NAME]               what could not be handled, and waits
//	retry NAME [KIND/ID]        handle what waits
//	discard NAME KIND/ID        leave out the commit that could not be handled
//
// Each has -h, and with -json prints a JSON value a line. Everything that comes from a
// log and could disturb a terminal is quoted, in errors too.
//
// A read model in a [projection.File] is for one process: the commands are for when
// the program does not run. On a shared database they can be used at any time.
package replay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
	"github.com/headwater-go/headwater/projection"
)

// Projection is what the commands need: a [projection.Projection] of any type.
type Projection interface {
	Name() string
	Store() *eventstore.Store
	Generations(ctx context.Context) ([]projection.Generation, error)
	Rebuild(ctx context.Context, opts *projection.RebuildOptions) (projection.Rebuilt, error)
	RebuildStream(ctx context.Context, stream eventstore.StreamID) error
	Show(ctx context.Context, generation uint64) error
	Remove(ctx context.Context, generation uint64) error
	Parked(ctx context.Context) ([]projection.Parked, error)
	Retry(ctx context.Context, stream eventstore.StreamID) error
	Discard(ctx context.Context, stream eventstore.StreamID) error
}

// Commands are the commands of a program.
type Commands struct {
	// Program is how the program is called.
	Program string
	// Open returns the projections, and how to close what they are on. It is called
	// when the command line is known to make sense.
	Open func(ctx context.Context) (all []Projection, closeAll func() error, err error)
	// Flags adds the program's own flags to each command, such as one for where its
	// data is; nil: there are none.
	Flags func(*flag.FlagSet)
	// Out is where results go, and Err where progress; default: [os.Stdout] and
	// [os.Stderr].
	Out, Err io.Writer
}

// UsageError is a command line that makes no sense.
type UsageError struct {
	Help    string // the arguments that print the help to read
	Problem string
}

func (e *UsageError) Error() string { return e.Problem }

// ErrParked says that a replay without effect met commits that cannot be handled.
var ErrParked = errors.New("some commits cannot be handled")

var commands = map[string]func(*run, context.Context, []string) error{
	"projections": (*run).list,
	"replay":      (*run).replay,
	"parked":      (*run).parked,
	"retry":       (*run).retry,
	"discard":     (*run).discard,
}

// Has reports whether a command is one of these.
func (c *Commands) Has(command string) bool { return commands[command] != nil }

// Usage returns the list of the commands, for the program's own help: a line each,
// indented by four spaces.
func (c *Commands) Usage() string {
	return `    projections    list the projections: how far they are, and what is parked
    replay         build a read model anew, beside the one in use
    parked         list what could not be handled
    retry          handle what is parked
    discard        leave out a commit that could not be handled
`
}

// Run runs the command that is the first of the arguments, with the others. An error
// that is a [UsageError] is about the command line. When the context ends what is in
// hand is finished; a replay goes on from there when it is given again.
func (c *Commands) Run(ctx context.Context, args []string) error {
	if len(args) == 0 || !c.Has(args[0]) {
		return &UsageError{Help: "-h", Problem: "there is no such command"}
	}
	r := &run{Commands: c, name: args[0], out: c.Out, err: c.Err}
	if r.out == nil {
		r.out = os.Stdout
	}
	if r.err == nil {
		r.err = os.Stderr
	}
	err := commands[r.name](r, ctx, args[1:])
	if err == nil || errors.Is(err, errHelped) {
		return nil
	}
	return &cleanError{err}
}

// cleanError is an error as a terminal may show it: it may cite a name, or what a
// handler said of an event's data.
type cleanError struct{ error }

func (e *cleanError) Error() string { return terminal.Clean(e.error.Error()) }

func (e *cleanError) Unwrap() error { return e.error }

// errHelped is a request for help that was granted.
var errHelped = errors.New("helped")

// run is a command that runs.
type run struct {
	*Commands
	name     string
	out, err io.Writer
	flags    *flag.FlagSet
	json     bool
}

// define defines the command's flags. The usage is what -h prints before them.
func (r *run) define(usage string) *flag.FlagSet {
	r.flags = flag.NewFlagSet(r.name, flag.ContinueOnError)
	r.flags.SetOutput(io.Discard)
	r.flags.Usage = func() {
		fmt.Fprint(r.flags.Output(), strings.ReplaceAll(usage, "PROGRAM", r.Program), "\nFlags:\n\n")
		r.flags.PrintDefaults()
	}
	r.flags.BoolVar(&r.json, "json", false, "print JSON, a value a line")
	if r.Flags != nil {
		r.Flags(r.flags)
	}
	return r.flags
}

// parse returns the arguments that are no flags. Those whose names are in brackets may
// be missing.
func (r *run) parse(args []string, names ...string) ([]string, error) {
	found, err := terminal.ParseMixed(r.flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		r.flags.SetOutput(r.out)
		r.flags.Usage()
		return nil, errHelped
	case err != nil:
		return nil, r.wrong("%v", err)
	case len(found) < len(names) && names[len(found)][0] != '[':
		return nil, r.wrong("%s needs an argument: %s", r.name, names[len(found)])
	case len(found) > len(names):
		return nil, r.wrong("%s has an argument too many: %q", r.name, found[len(names)])
	}
	return found, nil
}

func (r *run) wrong(format string, args ...any) error {
	return &UsageError{Help: r.name + " -h", Problem: terminal.Clean(fmt.Sprintf(format, args...))}
}

// given reports whether a flag is on the command line.
func (r *run) given(name string) (found bool) {
	r.flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// parseStream reads KIND/ID, which may be quoted as a list prints it.
func (r *run) parseStream(text string) (eventstore.StreamID, error) {
	if plain, err := strconv.Unquote(text); err == nil && strings.HasPrefix(text, `"`) {
		text = plain
	}
	kind, id, ok := strings.Cut(text, "/")
	if !ok || kind == "" || id == "" {
		return eventstore.StreamID{}, r.wrong("%q is no stream: write KIND/ID, for example order/42", text)
	}
	return eventstore.StreamID{Kind: kind, ID: id}, nil
}

// open lets do use the projections.
func (r *run) open(ctx context.Context, do func(all []Projection) error) (err error) {
	all, closeAll, err := r.Open(ctx)
	if err != nil {
		return err
	}
	if closeAll != nil {
		defer func() { err = errors.Join(err, closeAll()) }()
	}
	return do(all)
}

// openOne lets do use the projection of a name.
func (r *run) openOne(ctx context.Context, name string, do func(Projection) error) error {
	return r.open(ctx, func(all []Projection) error {
		names := make([]string, len(all))
		for i, p := range all {
			if names[i] = p.Name(); p.Name() == name {
				return do(p)
			}
		}
		return r.wrong("there is no projection %q; there are: %s", name, strings.Join(names, ", "))
	})
}
