package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// NewFlags returns the flags of a command. The usage is what its -h prints
// before the list of the flags.
func NewFlags(command, usage string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // Exit prints errors, ParseFlags the help
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage, "\nFlags:\n\n")
		fs.PrintDefaults()
	}
	return fs
}

// JSONFlag adds the flag for output that programs read.
func JSONFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("json", false, "print JSON, a value a line")
}

// ParseFlags parses arguments in which flags come before and after the others,
// and returns the others, of which there must be as many as names; the last may
// be missing if its name is in brackets. Asked for help it prints that to out
// and returns [ErrHelped].
func ParseFlags(fs *flag.FlagSet, out io.Writer, args []string, names ...string) ([]string, error) {
	found, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(out)
		fs.Usage()
		return nil, ErrHelped
	case err != nil:
		return nil, WrongUsage(fs, "%v", err)
	case len(found) < len(names) && names[len(found)][0] != '[':
		return nil, WrongUsage(fs, "%s needs an argument: %s", fs.Name(), names[len(found)])
	case len(found) > len(names):
		return nil, WrongUsage(fs, "%s has an argument too many: %q", fs.Name(), found[len(names)])
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

// Given reports whether a flag is on the command line.
func Given(fs *flag.FlagSet, name string) (found bool) {
	fs.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// WrongUsage returns an error about the command line, which points to the
// command's help.
func WrongUsage(fs *flag.FlagSet, format string, args ...any) error {
	return &UsageError{Help: fs.Name() + " -h", Problem: fmt.Sprintf(format, args...)}
}
