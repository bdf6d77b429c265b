// Headwater is the operator's tool for the logs of package eventstore: list,
// read, follow, copy and check any of them.
//
//	go run ./cmd/headwater -h
//	go run ./cmd/headwater streams -data orders-data
//
// A log is found in the same way by every command: in a folder that no other
// process has open (-data DIR), or on a running server (-server URL, or the
// environment variable NATS_URL); -log NAME says which one, where there are
// several.
//
// A server with users permits each of them what its role needs: 'headwater
// permissions' prints that. A user in the URL is who the program is itself, and
// -inbox the prefix of the subjects on which it may get answers.
//
// What a log holds was written by somebody else. Text for people has names,
// types and data that could disturb a terminal quoted, as Go writes strings.
// With -json each line is a JSON value, for programs.
//
// An export is the log's events as CloudEvents, one a line, in the order of the
// log. An import of it makes the same streams, of the same commits; it can be
// broken off at any moment and repeated, and repeated adds nothing. See
// 'headwater import -h' for CloudEvents that were made elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/headwater-go/headwater/internal/terminal"
)

const usage = `Headwater looks after event logs.

Usage:

    headwater COMMAND [flags]

Commands:

    server         run a server for development
    logs           list the logs of a server
    streams        list the streams of a log
    cat            print the events of a stream
    tail           print events as they are stored
    export         write a log as CloudEvents
    import         append CloudEvents to a log
    verify         check a whole log for damage
    projections    list the consumers of a log, and how far each is
    permissions    print the permissions that a user of a server needs

'headwater COMMAND -h' tells more about one. The log is in a folder (-data DIR)
or on a running server (-server URL, or the environment variable NATS_URL).
Where there are several, -log NAME says which. With -json the output is JSON, a
value a line.

The exit status is 0, 1 if something failed or a log is damaged, 2 if the
command line is wrong, and 130 after Ctrl-C.

Examples:

    headwater server -data dev-data
    headwater logs -server nats://127.0.0.1:4222
    headwater streams -data orders-data -kind order
    headwater cat order/10248 -data orders-data
    headwater export -data orders-data | headwater import -log copy -data copy-data
    headwater verify -data orders-data
    headwater projections -data orders-data
    headwater permissions projection -log shop
`

// console is what a command reads, where it writes what it was asked for, and
// where complaints and progress.
type console struct {
	in       io.Reader
	out, err io.Writer
}

var commands = map[string]func(context.Context, console, []string) error{
	"server":      serve,
	"logs":        listLogs,
	"streams":     listStreams,
	"cat":         cat,
	"tail":        tail,
	"export":      export,
	"import":      importEvents,
	"verify":      verify,
	"projections": listProjections,
	"permissions": printPermissions,
}

func main() {
	// A reader of the output that goes away is an error of the next write, after
	// which a server in this process is stopped in good order.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first Ctrl-C asks, a second one ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr}))
}

// run runs the program and returns its exit status.
func run(ctx context.Context, args []string, c console) int {
	err := dispatch(ctx, c, args)
	var wrong *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(c.err, "headwater: %s\nTry 'headwater %s'.\n", terminal.Clean(err.Error()), wrong.help)
		return 2
	case errors.Is(err, syscall.EPIPE):
		return 1 // head, for example, has seen enough
	}
	fmt.Fprintf(c.err, "headwater: %s\n", terminal.Clean(err.Error()))
	if ctx.Err() != nil {
		return 130 // as a shell says that a program ended by Ctrl-C
	}
	return 1
}

func dispatch(ctx context.Context, c console, args []string) error {
	if len(args) == 0 {
		return &usageError{help: "-h", problem: "a command is missing"}
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		_, err := io.WriteString(c.out, usage)
		return err
	}
	command, ok := commands[args[0]]
	if !ok {
		return &usageError{help: "-h", problem: fmt.Sprintf("there is no command %q", args[0])}
	}
	err := command(ctx, c, args[1:])
	if errors.Is(err, errHelped) {
		return nil
	}
	return err
}

// usageError is a command line that makes no sense.
type usageError struct {
	help    string // arguments that print the help to read
	problem string
}

func (e *usageError) Error() string { return e.problem }
