// Package cli is what the programs of this module have in common: how they take
// their command lines, say that something failed, and show text and progress.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// UsageError is a command line that makes no sense.
type UsageError struct {
	Help    string // arguments that print the help to read
	Problem string
}

func (e *UsageError) Error() string { return e.Problem }

// ErrHelped is a request for help that was granted: the command does nothing
// more, and that is no failure.
var ErrHelped = errors.New("helped")

// Exit says on w why a command of a program failed, and returns its exit status.
func Exit(ctx context.Context, w io.Writer, program string, err error) int {
	var wrong *UsageError
	switch {
	case err == nil, errors.Is(err, ErrHelped):
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(w, "%s: %s\nTry '%[1]s %s'.\n", program, Clean(err.Error()), wrong.Help)
		return 2
	case errors.Is(err, syscall.EPIPE):
		return 1 // head, for example, has seen enough
	}
	fmt.Fprintf(w, "%s: %s\n", program, Clean(err.Error()))
	if ctx.Err() != nil {
		return 130 // as a shell says that a program ended by Ctrl-C
	}
	return 1
}
