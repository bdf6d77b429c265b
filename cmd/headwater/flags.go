package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/headwater-go/headwater/internal/terminal"
)

// errHelped is a request for help that was granted: the command does nothing
// more, and that is no failure.
var errHelped = errors.New("helped")

// newFlags returns the flags of a command. The usage is what its -h prints
// before the list of the flags.
func newFlags(command, usage string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors, parseFlags the help
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage, "\nFlags:\n\n")
		fs.PrintDefaults()
	}
	return fs
}

func jsonFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("json", false, "print JSON, a value a line")
}

// listFlag returns the values of a flag that may be given several times.
func listFlag(fs *flag.FlagSet, name, usage string) *[]string {
	var list []string
	fs.Func(name, usage, func(value string) error {
		if value == "" {
			return errors.New("it is empty")
		}
		list = append(list, value)
		return nil
	})
	return &list
}

// parseFlags parses arguments in which flags come before and after the others,
// and returns the others, of which there must be as many as names; the last may
// be missing if its name is in brackets. Asked for help it prints that and
// returns errHelped.
func parseFlags(fs *flag.FlagSet, c console, args []string, names ...string) ([]string, error) {
	found, err := terminal.ParseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(c.out)
		fs.Usage()
		return nil, errHelped
	case err != nil:
		return nil, wrongUsage(fs, "%v", err)
	case len(found) < len(names) && names[len(found)][0] != '[':
		return nil, wrongUsage(fs, "%s needs an argument: %s", fs.Name(), names[len(found)])
	case len(found) > len(names):
		return nil, wrongUsage(fs, "%s has an argument too many: %q", fs.Name(), found[len(names)])
	}
	return found, nil
}

// given reports whether a flag is on the command line.
func given(fs *flag.FlagSet, name string) (found bool) {
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func wrongUsage(fs *flag.FlagSet, format string, args ...any) error {
	return &usageError{help: fs.Name() + " -h", problem: fmt.Sprintf(format, args...)}
}
