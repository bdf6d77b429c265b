package replay_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/projection/replay"
)

// Help opens nothing, and has the program's own flags.
func TestHelp(t *testing.T) {
	t.Parallel()
	b := &bank{T: t}
	for line := range strings.Lines((&replay.Commands{}).Usage()) {
		name := strings.Fields(line)[0]
		requireContains(t, b.succeed(name, "-h"), "Usage: bank "+name, "Example", "\n    bank "+name, "-json", "-data folder")
		if !(&replay.Commands{}).Has(name) {
			t.Errorf("%s is no command", name)
		}
	}
	if b.opened > 0 {
		t.Error("help opened the projections")
	}
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	b := &bank{T: t}
	for _, test := range []struct{ args, want string }{
		{"", "there is no such command"},
		{"import", "there is no such command"},
		{"projections x", `projections has an argument too many: "x"`},
		{"replay", "replay needs an argument: NAME"},
		{"replay a b", `replay has an argument too many: "b"`},
		{"replay a -too 1", "flag provided but not defined: -too"},
		{"replay a -to last", `invalid value "last" for flag -to`},
		{"replay a -to 0", "-to must be at least 1"},
		{"replay a -show 0", "-show must be at least 1"},
		{"replay a -remove 0", "-remove must be at least 1"},
		{"replay a -throttle -5", "-throttle must be at least 1"},
		{"replay a -stream=", `"" is no stream`},
		{"replay a -stream 42", `"42" is no stream`},
		{"replay a -stream a/1 -throttle 5", "-stream and -throttle do not go together"},
		{"replay a -stream a/1 -to 5", "-stream and -to do not go together"},
		{"replay a -to 5 -show 1", "-show and -to do not go together"},
		{"replay a -to 5 -remove 1", "-remove and -to do not go together"},
		{"replay a -dry-run -stream a/1", "-stream and -dry-run do not go together"},
		{"replay a -show 1 -remove 2", "-show and -remove do not go together"},
		{"replay a -keep -dry-run", "-keep is about the read model that is replaced"},
		{"replay a -keep -to 5", "-keep is about the read model that is replaced"},
		{"parked a b", `parked has an argument too many: "b"`},
		{"retry", "retry needs an argument: NAME"},
		{"retry a b", `"b" is no stream`},
		{"discard a", "discard needs an argument: KIND/ID"},
		{"discard a order/", `"order/" is no stream`},
	} {
		out, err := b.run(strings.Fields(test.args)...)
		var wrong *replay.UsageError
		if !errors.As(err, &wrong) || out != "" || b.opened > 0 {
			t.Fatalf("%s: %v, printed %q", test.args, err, out)
		}
		requireContains(t, wrong.Problem, test.want)
		if name, _, _ := strings.Cut(test.args, " "); wrong.Help != "-h" && wrong.Help != name+" -h" {
			t.Errorf("%s: it points to %q", test.args, wrong.Help)
		}
	}
}

// The error for a name that is none lists those which are.
func TestUnknownProjection(t *testing.T) {
	t.Parallel()
	b := emptyBank(t)
	for _, args := range []string{"replay sales", "parked sales", "retry sales", "discard sales account/1"} {
		_, err := b.run(strings.Fields(args)...)
		if !errors.As(err, new(*replay.UsageError)) {
			t.Errorf("%s: %v", args, err)
		}
		requireContains(t, err.Error(), `there is no projection "sales"; there are: balances, picky, strict`)
	}
	if b.opened != 4 {
		t.Errorf("opened %d times", b.opened)
	}
}

// What opens and closes the projections may fail.
func TestOpen(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.succeed("projections", "-data", "elsewhere")
	if b.data != "elsewhere" {
		t.Errorf("the program's flag is %q", b.data)
	}
	locked, full := errors.New("it is locked"), errors.New("the disk is full")
	var failed error
	commands := &replay.Commands{Out: io.Discard, Err: io.Discard, Open: func(context.Context) ([]replay.Projection, func() error, error) {
		return b.all, func() error { return full }, failed
	}}
	if err := commands.Run(t.Context(), []string{"projections"}); !errors.Is(err, full) {
		t.Errorf("closing fails: %v", err)
	}
	failed = locked
	if err := commands.Run(t.Context(), []string{"projections"}); !errors.Is(err, locked) || errors.Is(err, full) {
		t.Errorf("opening fails: %v", err)
	}
}

// brokenWriter is a reader that went away.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Output that goes nowhere is an error.
func TestBrokenOutput(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.deposit("7", 13)
	b.catchUp("picky")
	b.mended.Store(true)
	commands := &replay.Commands{Out: brokenWriter{}, Err: io.Discard, Open: func(context.Context) ([]replay.Projection, func() error, error) {
		return b.all, nil, nil
	}}
	for _, args := range []string{
		"projections", "projections -json", "parked", "parked -json", "replay balances", "replay balances -json",
		"replay balances -dry-run", "replay balances -stream account/1",
		"retry picky", "discard picky account/7", // the first one is retried, and then no other
	} {
		if err := commands.Run(t.Context(), strings.Fields(args)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
