package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// defaultData is the folder of the log where none is given.
const defaultData = "orders-data"

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

// parseFlags parses arguments in which flags come before and after the others,
// and returns the others, of which there must be as many as names. Asked for
// help it prints that and returns nil and flag.ErrHelp.
func parseFlags(fs *flag.FlagSet, c console, args []string, names ...string) ([]string, error) {
	found, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(c.out)
		fs.Usage()
		return nil, err
	case err != nil:
		return nil, wrongUsage(fs, "%v", err)
	case len(found) < len(names):
		return nil, wrongUsage(fs, "%s needs an argument: %s", fs.Name(), names[len(found)])
	case len(found) > len(names):
		return nil, wrongUsage(fs, "%s has an argument too many: %q", fs.Name(), found[len(names)])
	}
	return found, nil
}

// parseMixed lets the flag package, which stops at the first argument that is
// not a flag, go on behind it.
func parseMixed(fs *flag.FlagSet, args []string) (found []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(found, rest...), nil
		}
		if len(rest) == 0 {
			return found, nil
		}
		found, args = append(found, rest[0]), rest[1:]
	}
}

func wrongUsage(fs *flag.FlagSet, format string, args ...any) error {
	return &usageError{help: fs.Name() + " -h", problem: fmt.Sprintf(format, args...)}
}

// helped turns the request for help, which has been granted, into no error.
func helped(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}
