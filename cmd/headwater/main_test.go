package main_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

// childEnv makes the test binary the program itself, for tests that need a
// process.
const childEnv = "HEADWATER_TEST_HEADWATER"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		runChild()
	}
	if err := os.Unsetenv("NATS_URL"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// statusEnv names a file for what the system says about the process at its end.
const statusEnv = "HEADWATER_TEST_STATUS"

// runChild is the program. It never returns.
func runChild() {
	file := os.Getenv(statusEnv)
	if file == "" {
		headwater.Main()
	}
	exit := headwater.Run(context.Background(), os.Stdin, os.Stdout, os.Stderr, os.Args[1:]...)
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		err = os.WriteFile(file, status, 0o600)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(exit)
}

// child returns the program as a process that has not been started.
func child(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	return cmd
}

// result is what a run of the program left.
type result struct {
	status      int
	out, errors string
}

var progressLine = regexp.MustCompile(`(?m)^\d+( of \d+)? (events|positions), \d+/s\n`)

// run runs the program in this process.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t.Context(), strings.NewReader(""), args...)
}

func runWith(ctx context.Context, in io.Reader, args ...string) result {
	var out, errors bytes.Buffer
	status := headwater.Run(ctx, in, &out, &errors, args...)
	// On a slow machine there is progress too.
	return result{status, out.String(), progressLine.ReplaceAllString(errors.String(), "")}
}

// succeed runs the program and returns what it printed. It fails the test
// unless the program succeeds without complaints.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	return succeedWith(t, "", args...)
}

func succeedWith(t *testing.T, in string, args ...string) string {
	t.Helper()
	r := runWith(t.Context(), strings.NewReader(in), args...)
	if r.status != 0 || r.errors != "" {
		t.Fatalf("%q: exit status %d\n%s", args, r.status, r.errors)
	}
	return r.out
}

func requireFailure(t *testing.T, want string, args ...string) {
	t.Helper()
	if r := run(t, args...); r.status != 1 || r.out != "" || r.errors != "headwater: "+want+"\n" {
		t.Errorf("%q: exit status %d, printed %q, complained %q, want %q", args, r.status, r.out, r.errors, want)
	}
}

func requireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

// varying is what differs from one run to the next: when the log recorded an
// event, and its identity.
var varying = regexp.MustCompile(`("(?:hw)?recorded":|"identity":)"[^"]*"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = varying.ReplaceAllString(got, `$1"…"`)
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not as in %s; if it should be so, run the test with -update. Got:\n%s", file, got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-h"}, {"--help"}, {"help"}, {"server", "-h"}, {"logs", "-h"}, {"streams", "-help"}, {"cat", "a/b", "--help"},
		{"tail", "-h"}, {"export", "-h"}, {"import", "-h"}, {"verify", "-h"}, {"projections", "-h"},
	} {
		requireContains(t, succeed(t, args...), "Usage:", "Examples:\n\n    headwater ", "-data")
	}
	requireContains(t, succeed(t, "permissions", "-h"), "Usage:", "Examples:\n\n    headwater ", "-service")
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "a command is missing"},
		{[]string{"sow"}, `there is no command "sow"`},
		{[]string{"nats://me:secret@host"}, `there is no command "nats://host"`},
		{[]string{"streams", "nats://me:secret@host"}, `streams has an argument too many: "nats://host"`},
		{[]string{"streams"}, "where is the log?"},
		{[]string{"verify", "-data", "x", "-server", "y"}, "-data and -server are two places"},
		{[]string{"cat", "-data", "x"}, "cat needs an argument: KIND/ID"},
		{[]string{"cat", "42", "-data", "x"}, `a stream is named KIND/ID, as order/42 is; not "42"`},
		{[]string{"cat", "a/b", "-from", "last", "-data", "x"}, `invalid value "last" for flag -from`},
		{[]string{"streams", "-kinds", "x"}, "flag provided but not defined: -kinds"},
		{[]string{"tail", "-after", "1", "-n", "1"}, "-after and -n are two beginnings"},
		{[]string{"tail", "-kind", ""}, "it is empty"},
		{[]string{"import", "a", "b"}, `import has an argument too many: "b"`},
		{[]string{"import", "-kind", "", "-data", "x"}, "-kind is empty"},
		{[]string{"export", "x", "-data", "x"}, `export has an argument too many: "x"`},
		{[]string{"logs", "-log", "x"}, "flag provided but not defined: -log"},
		{[]string{"projections", "x"}, `projections has an argument too many: "x"`},
		{[]string{"projections"}, "where is the log?"},
		{[]string{"server"}, "server needs -data"},
		{[]string{"server", "-data", "x", "-listen", "0.0.0.0:1"}, "is not HOST:PORT of this machine's loopback interface"},
		{[]string{"server", "-data", "x", "-listen", ":4222"}, "is not HOST:PORT of this machine's loopback interface"},
	} {
		r := run(t, test.args...)
		if r.status != 2 || r.out != "" {
			t.Errorf("%q: exit status %d, printed %q", test.args, r.status, r.out)
		}
		requireContains(t, r.errors, test.want, "Try 'headwater ")
	}
}
