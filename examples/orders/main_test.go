package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/internal/natsnode"
)

// childEnv makes the test binary the program itself, for tests that need a
// process to kill.
const childEnv = "HEADWATER_TEST_ORDERS"

func TestMain(m *testing.M) {
	natsnode.Main()
	if os.Getenv(childEnv) != "" {
		orders.Main() // never returns
	}
	os.Exit(m.Run())
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

// run runs the program in this process.
func run(args ...string) result {
	var out, errors bytes.Buffer
	status := orders.Run(&out, &errors, args...)
	return result{status, out.String(), errors.String()}
}

// succeed runs the program and returns what it printed. It fails the test
// unless the program succeeds without complaints.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	r := run(args...)
	if r.status != 0 || r.errors != "" {
		t.Fatalf("%q: exit status %d\n%s", args, r.status, r.errors)
	}
	return r.out
}

func requireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-h"}, {"--help"}, {"help"},
		{"import", "-h"}, {"show", "-h"}, {"history", "-help"}, {"report", "1", "--help"},
		{"list", "-h"}, {"load", "-h"}, {"serve", "-h"}, {"serve", "orders", "-h"},
	} {
		out := succeed(t, args...)
		requireContains(t, out, "Usage:", "Example", "go run ./examples/orders")
	}
}

func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"sow"}, `there is no command "sow"`},
		{[]string{"-data", "x"}, `there is no command "-data"`},
		{[]string{"show"}, "show needs an argument: ID"},
		{[]string{"show", "1", "2"}, `show has an argument too many: "2"`},
		{[]string{"show", "1", "-at", "last"}, `invalid value "last" for flag -at`},
		{[]string{"history", "1", "-dta", "x"}, "flag provided but not defined: -dta"},
		{[]string{"report", "all"}, `report has an argument too many: "all"`},
		{[]string{"report", "-on-poison", "parc"}, `invalid value "parc" for flag -on-poison: "parc" is none of park, stop`},
		{[]string{"list", "shipped-orders"}, `there is no read model "shipped-orders"`},
		{[]string{"load", "-urls", "localhost:8080"}, `"localhost:8080" is no URL of a front`},
		{[]string{"load", "-clients", "-1"}, "must not be negative"},
		{[]string{"import", "-orders", "x"}, "import needs both -orders and -lines"},
	} {
		r := run(test.args...)
		if r.status != 2 || r.out != "" {
			t.Errorf("%q: exit status %d, printed %q", test.args, r.status, r.out)
		}
		requireContains(t, r.errors, test.want, "Try 'orders ")
	}
}
