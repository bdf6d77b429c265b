package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// smallShop returns a folder with three orders in it: 1 shipped in time, 2
// shipped late, 3 open.
func smallShop(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	succeed(t, "import", "-orders", "testdata/good/orders.csv", "-lines", "testdata/good/lines.csv", "-data", dir)
	return dir
}

func TestViews(t *testing.T) {
	t.Parallel()
	dir := smallShop(t)
	golden(t, "history.txt", succeed(t, "history", "2", "-data", dir))
	golden(t, "show.txt", succeed(t, "show", "-data", dir, "2"))
	golden(t, "show-at.txt", succeed(t, "show", "-at", "2", "2", "-data="+dir))
	golden(t, "report.txt", succeed(t, "report", "-data", dir))
	golden(t, "report.json", succeed(t, "report", "-json", "-data", dir))
}

func TestViewErrors(t *testing.T) {
	t.Parallel()
	dir := smallShop(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"show", "4711", "-data", dir}, `orders: there is no order "4711" in the log`},
		{[]string{"history", "-data", dir, "--", "-4711"}, `orders: there is no order "-4711" in the log`},
		{[]string{"show", "2", "-at", "99", "-data", dir}, "orders: order 2 has no version 99: its last is 4"},
	} {
		requireFailure(t, test.want+"\n", test.args...)
	}
}

func requireFailure(t *testing.T, want string, args ...string) {
	t.Helper()
	if r := run(args...); r.status != 1 || r.out != "" || r.errors != want {
		t.Errorf("%q: exit status %d, printed %q, complained %q, want %q", args, r.status, r.out, r.errors, want)
	}
}

// A mistyped folder must not become one.
func TestLookMakesNoFolder(t *testing.T) {
	t.Parallel()
	missing, empty := filepath.Join(t.TempDir(), "dta"), t.TempDir()
	for _, args := range [][]string{{"show", "1"}, {"history", "1"}, {"report"}, {"list", "open-orders"}} {
		requireFailure(t, "orders: there is no folder "+missing+": name the one to look at with -data, or import orders into it first\n",
			append(args, "-data", missing)...)
		requireFailure(t, "orders: the folder "+empty+" holds no orders: import some into it first, or name another with -data\n",
			append(args, "-data", empty)...)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("%s: %v", missing, err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("%s: %v %v", empty, entries, err)
	}
}

// figures is what a report says, as another program reads it.
type figures struct {
	Orders, Lines, Customers, Shipped, Open, Late int
	GrossRevenue, NetRevenue                      string
	Top                                           []best
}

type best struct{ Customer, Net string }

// reported returns the figures of a report without complaints.
func reported(t *testing.T, dir string, flags ...string) figures {
	t.Helper()
	return parsed(t, succeed(t, append([]string{"report", "-json", "-data", dir}, flags...)...))
}

func parsed(t *testing.T, report string) (f figures) {
	t.Helper()
	if err := json.Unmarshal([]byte(report), &f); err != nil {
		t.Fatal(err)
	}
	return f
}
