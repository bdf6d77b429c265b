package main_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// replayVarying is what differs from one replay to the next: when something was, how
// long it took, and how fast it was.
var replayVarying = regexp.MustCompile(`( in )[0-9.]+m?s|\d{4}-\d\d-\d\dT[0-9:.]+Z|("(?:seconds|rate|remaining)":)[0-9.e+-]+`)

func replayGolden(t *testing.T, name, got string) {
	t.Helper()
	golden(t, name, replayVarying.ReplaceAllString(got, `$1$2…`))
}

// replayed makes a read model anew through the command line, and returns the result.
func replayed(t *testing.T, dir, name string) (end map[string]any) {
	t.Helper()
	out := strings.TrimSpace(succeed(t, "replay", name, "-json", "-data", dir))
	last := out[strings.LastIndex(out, "\n")+1:]
	if err := json.Unmarshal([]byte(last), &end); err != nil {
		t.Fatalf("%v: %s", err, last)
	}
	if end["type"] != "result" || end["projection"] != name || end["parked"] != 0.0 {
		t.Errorf("the replay of %s ended with %v", name, end)
	}
	return end
}

// requireSameAfterReplays fails the test unless the report and the lists stay as they
// are when each read model is made anew, one after the other.
func requireSameAfterReplays(t *testing.T, dir string) {
	t.Helper()
	text, asJSON := listed(t, dir), succeed(t, "report", "-json", "-data", dir)
	for _, name := range modelNames {
		if end := replayed(t, dir, name); end["generation"] != 2.0 || end["commits"] == 0.0 {
			t.Errorf("the replay of %s ended with %v", name, end)
		}
		if got := listed(t, dir); got != text {
			t.Errorf("after the replay of %s the read models are\n%s\nand were\n%s", name, got, text)
		}
		if got := succeed(t, "report", "-json", "-data", dir); got != asJSON {
			t.Errorf("after the replay of %s the report is\n%s\nand was\n%s", name, got, asJSON)
		}
	}
}

func TestReplayCommand(t *testing.T) {
	t.Parallel()
	dir := smallShop(t)
	requireSameAfterReplays(t, dir)
	golden(t, "report.txt", succeed(t, "report", "-data", dir))
	golden(t, "report.json", succeed(t, "report", "-json", "-data", dir))
}

func TestReplayCommandOfNorthwind(t *testing.T) {
	t.Parallel()
	if !haveNorthwind() {
		t.Skipf("the Northwind data are not in %s", northwind)
	}
	dir := filepath.Join(t.TempDir(), "data")
	succeed(t, importArgs(northwind, "order-details.csv", dir)...)
	requireSameAfterReplays(t, dir)
	if got := reported(t, dir); !reflect.DeepEqual(got, northwindFigures) {
		t.Errorf("the report is %+v\nwant %+v", got, northwindFigures)
	}
}

// What the commands print: of read models that never were, that are up to date, and
// of one that was made anew.
func TestReplayViews(t *testing.T) {
	t.Parallel()
	dir := smallShop(t)
	golden(t, "projections-new.txt", succeed(t, "projections", "-data", dir))
	succeed(t, "report", "-data", dir)
	replayGolden(t, "replay.txt", succeed(t, "replay", "sales-by-day", "-keep", "-data", dir))
	golden(t, "projections.txt", succeed(t, "projections", "-data", dir))
	replayGolden(t, "projections.jsonl", succeed(t, "projections", "-json", "-data", dir))
	replayGolden(t, "replay.jsonl", lastLines(succeed(t, "replay", "sales-by-day", "-json", "-data", dir), 2))
	golden(t, "parked-nothing.txt", succeed(t, "parked", "-data", dir))
}

// lastLines returns the last lines of a text: how much progress comes before depends
// on how fast it is.
func lastLines(text string, n int) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "") + "\n"
}

// An order that cannot be handled, from the first complaint to the last report, as
// somebody at a keyboard deals with it.
func TestPoisonCommands(t *testing.T) {
	t.Parallel()
	odd := oddities[0]
	dir, position := oddShop(t, odd.id, odd.commits, odd.bad)
	requireStopped(t, odd.reason, odd.id, position, "report", "-data", dir)
	behind := func(e eventstore.Event) bool { return e.Stream.ID == odd.id && e.Position >= position }
	requireParked(t, folded(t, dir, behind), odd.id, dir, "-on-poison", "park")
	replayGolden(t, "parked.txt", succeed(t, "parked", "-data", dir))
	replayGolden(t, "parked.jsonl", succeed(t, "parked", "sales-by-day", "-json", "-data", dir))
	for _, name := range modelNames {
		requireRetryFails(t, dir, name, odd.id, position)
	}
	requireParked(t, folded(t, dir, behind), odd.id, dir)
	for _, name := range modelNames {
		if got, want := succeed(t, "discard", name, "order/"+odd.id, "-data", dir), name+": order/"+odd.id+", discarded\n"; got != want {
			t.Errorf("discard printed %q, want %q", got, want)
		}
	}
	golden(t, "parked-nothing.txt", succeed(t, "parked", "-data", dir))
	bad := func(e eventstore.Event) bool { return e.Position == position }
	if got, want := reported(t, dir), folded(t, dir, bad); !reflect.DeepEqual(got, want) {
		t.Errorf("after it is discarded the report is %+v\nwant %+v", got, want)
	}
}

// requireRetryFails fails the test unless an order stays parked in a read model,
// whether it or all that is parked is tried.
func requireRetryFails(t *testing.T, dir, name, id string, position uint64) {
	t.Helper()
	still := fmt.Sprintf("is parked since position %d", position)
	r := run("retry", name, "order/"+id, "-data", dir)
	if r.status != 1 || r.out != "" {
		t.Errorf("exit status %d, printed %q", r.status, r.out)
	}
	requireContains(t, r.errors, "orders: projection "+name, still)
	r = run("retry", name, "-data", dir)
	if r.status != 1 || r.out != "" {
		t.Errorf("all: exit status %d, printed %q", r.status, r.out)
	}
	requireContains(t, r.errors, still, "orders: of 1 parked streams 1 cannot be handled\n")
}

// A replay comes to a commit again that was discarded: it stops there, and nothing
// that readers see changes, unless it may park the order.
func TestReplayOfPoison(t *testing.T) {
	t.Parallel()
	odd := oddities[0]
	dir, position := oddShop(t, odd.id, odd.commits, odd.bad)
	run("report", "-on-poison", "park", "-data", dir)
	for _, name := range modelNames {
		succeed(t, "discard", name, "order/"+odd.id, "-data", dir)
	}
	before := listed(t, dir)
	r := run("replay", "sales-by-day", "-data", dir)
	if r.status != 1 || r.out != "" {
		t.Errorf("exit status %d, printed %q", r.status, r.out)
	}
	requireContains(t, r.errors, fmt.Sprintf("stopped at position %d, ", position), "the same command goes on from there")
	r = run("replay", "sales-by-day", "-dry-run", "-data", dir)
	if r.status != 1 {
		t.Errorf("a dry run: exit status %d", r.status)
	}
	replayGolden(t, "dry-run.txt", r.out+r.errors)
	if got := listed(t, dir); got != before {
		t.Errorf("the read models are\n%s\nand were\n%s", got, before)
	}
	requireContains(t, succeed(t, "replay", "sales-by-day", "-on-poison", "park", "-data", dir), "parked streams: 1\n")
}

// The program's help has these commands, and theirs has the program's flags.
func TestReplayHelp(t *testing.T) {
	t.Parallel()
	all := succeed(t, "-h")
	for _, name := range []string{"projections", "replay", "parked", "retry", "discard"} {
		requireContains(t, all, "\n    "+name+" ")
		requireContains(t, succeed(t, name, "-h"), "Usage: orders "+name, "Example", "-json", "-data folder", "-on-poison stop|park")
	}
}

// Wrong command lines, and folders without orders, are as for other commands.
func TestReplayCommandErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want, help string }{
		{"replay", "replay needs an argument: NAME", "replay -h"},
		{"replay sales-by-day -show 1 -remove 2", "-show and -remove do not go together", "replay -h"},
		{"discard sales-by-day 42", `"42" is no stream`, "discard -h"},
		{"projections all", `projections has an argument too many: "all"`, "projections -h"},
	} {
		r := run(strings.Fields(test.args)...)
		if r.status != 2 || r.out != "" {
			t.Errorf("%s: exit status %d, printed %q", test.args, r.status, r.out)
		}
		requireContains(t, r.errors, "orders: "+test.want, "Try 'orders "+test.help+"'.\n")
	}
	dir := smallShop(t)
	r := run("replay", "sales", "-data", dir)
	if r.status != 2 || r.out != "" {
		t.Errorf("exit status %d, printed %q", r.status, r.out)
	}
	requireContains(t, r.errors, `there is no projection "sales"; there are: `+strings.Join(modelNames, ", "))
	empty := t.TempDir()
	for _, args := range []string{"projections", "parked", "replay sales-by-day", "retry sales-by-day", "discard sales-by-day order/1"} {
		requireFailure(t, "orders: the folder "+empty+" holds no orders: import some into it first, or name another with -data\n",
			append(strings.Fields(args), "-data", empty)...)
	}
}
