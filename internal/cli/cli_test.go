package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/internal/cli"
)

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"order/42", "order/42"}, {"größer, \"so\"", "größer, \"so\""}, {"a\x1b[31m", `"a\x1b[31m"`},
		{"a\nb", `"a\nb"`}, {"\u202ea", `"\u202ea"`}, {"\xff", `"\xff"`}, {"\u009b", `"\u009b"`},
	} {
		if got := cli.Quote(test.text); got != test.want {
			t.Errorf("%q is shown as %s, want %s", test.text, got, test.want)
		}
	}
	if got := cli.Clean("one\ntwo \x1b]0;x\x07 \xff \u202e 'é' nats://me:secret@host"); got != `one`+"\n"+`two \x1b]0;x\a \xff \u202e 'é' nats://host` {
		t.Errorf("the error is shown as %s", got)
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	var terminal, file bytes.Buffer
	for w, bar := range map[*bytes.Buffer]*cli.Bar{&terminal: cli.TerminalBar(&terminal), &file: cli.DueBar(&file)} {
		bar.Show(1, 4, func() string { return "1 of 4" })
		bar.Show(2, 4, func() string { return "2 of 4" }) // too soon
		bar.Clear()
		bar.Clear()
		_ = w
	}
	if got, want := terminal.String(), "\r\x1b[K[#######.......................] 1 of 4\r\x1b[K"; got != want {
		t.Errorf("it drew %q, want %q", got, want)
	}
	if got, want := file.String(), "1 of 4\n"; got != want {
		t.Errorf("it printed %q, want %q", got, want)
	}
}

// Flags may stand anywhere, and nothing after -- is one.
func TestParseFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, found, wrong string }{
		{"a b -json", "[a b]", ""}, {"-json a", "[a]", ""}, {"a -- -b", "[a -b]", ""},
		{"", "[]", "test needs an argument: A"}, {"a b c", "[]", `test has an argument too many: "c"`},
		{"a -x", "[]", "flag provided but not defined: -x"},
	} {
		fs := cli.NewFlags("test", "usage")
		cli.JSONFlag(fs)
		args := slices.Collect(func(yield func(string) bool) {
			for _, arg := range bytes.Fields([]byte(test.args)) {
				yield(string(arg))
			}
		})
		found, err := cli.ParseFlags(fs, io.Discard, args, "A", "[B]")
		if got := fmt.Sprint(found); got != test.found {
			t.Errorf("%q: %s, want %s", test.args, got, test.found)
		}
		var wrong *cli.UsageError
		if errors.As(err, &wrong) != (test.wrong != "") || wrong != nil && (wrong.Problem != test.wrong || wrong.Help != "test -h") {
			t.Errorf("%q: %v, want %q", test.args, err, test.wrong)
		}
	}
}

func TestExit(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx    context.Context
		err    error
		status int
		said   string
	}{
		{t.Context(), nil, 0, ""}, {t.Context(), cli.ErrHelped, 0, ""}, {ended, nil, 0, ""},
		{t.Context(), errors.New("a\x1b"), 1, "x: a\\x1b\n"}, {ended, context.Canceled, 130, "x: context canceled\n"},
		{t.Context(), fmt.Errorf("write: %w", syscall.EPIPE), 1, ""},
		{t.Context(), &cli.UsageError{Help: "-h", Problem: "no"}, 2, "x: no\nTry 'x -h'.\n"},
	} {
		var said bytes.Buffer
		if status := cli.Exit(test.ctx, &said, "x", test.err); status != test.status || said.String() != test.said {
			t.Errorf("%v: exit status %d, said %q", test.err, status, said.String())
		}
	}
}
