package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// seedEnv sets the seed of the moments at which TestImportKilled kills.
const seedEnv = "HEADWATER_SEED"

// bigImport returns the arguments of an import of several hundred orders:
// Northwind's where they are, made-up ones elsewhere.
func bigImport(t *testing.T, data string) []string {
	t.Helper()
	if haveNorthwind() {
		return importArgs(northwind, "order-details.csv", data)
	}
	return generatedImport(t, data)
}

// generatedImport returns the arguments of an import of 600 made-up orders.
func generatedImport(t *testing.T, data string) []string {
	t.Helper()
	var orders, lines strings.Builder
	orders.WriteString("orderID,customerID,orderDate,requiredDate,shippedDate\n")
	lines.WriteString("orderID,productID,unitPrice,quantity,discount\n")
	for i := range 600 {
		fmt.Fprintf(&orders, "%d,C%d,2026-01-01,2026-02-01,2026-01-%02d\n", i, i%37, 1+i%31)
		for line := range 1 + i%4 {
			fmt.Fprintf(&lines, "%d,P%d,%d.%02d,%d,0.%02d\n", i, line, i, i%100, 1+i%9, i%30)
		}
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "orders.csv"), orders.String())
	writeFile(t, filepath.Join(dir, "lines.csv"), lines.String())
	return importArgs(dir, "lines.csv", data)
}

// TestImportKilled kills an import ten times, each time further on, and lets it
// finish then. What is in the log must be the same as without.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	reference := filepath.Join(t.TempDir(), "reference")
	start := time.Now()
	if out, err := child(t, bigImport(t, reference)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(start)
	want := contents(t, reference)

	dir := filepath.Join(t.TempDir(), "data")
	args := bigImport(t, dir)
	kills := 10
	if testing.Short() {
		kills = 3
	}
	undone := 0
	for i, moment := range moments(rng, kills) {
		finished := killed(t, child(t, args...), moment, took)
		got := contents(t, dir)
		t.Logf("kill %d, at %.3f of the import: %d of %d events are there", i+1, moment, len(got), len(want))
		if !slices.Equal(got, want[:min(len(got), len(want))]) {
			t.Fatalf("after kill %d the log is not a beginning of what it should be", i+1)
		}
		if !finished && len(got) < len(want) {
			undone++
		}
	}
	if undone < kills/2 {
		t.Errorf("only %d of %d kills were in the middle", undone, kills)
	}

	succeed(t, args...)
	if got := contents(t, dir); !slices.Equal(got, want) {
		t.Errorf("the log has %d events, or others than the %d it should have", len(got), len(want))
	}
	if got, want := reported(t, dir), reported(t, reference); !reflect.DeepEqual(got, want) {
		t.Errorf("the figures are %+v\nwant %+v", got, want)
	}
	requireContains(t, succeed(t, args...), "nothing new\n")
}

// TestReportKilled kills reports while they bring the read models up to date. Each
// goes on where the one before was, and the last one must be right.
func TestReportKilled(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	dir := filepath.Join(t.TempDir(), "data")
	succeed(t, generatedImport(t, dir)...)
	want := folded(t, dir, nil)
	reference := filepath.Join(t.TempDir(), "reference")
	if err := os.CopyFS(reference, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if out, err := child(t, "report", "-data", reference).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(begun)
	for _, moment := range moments(rng, 8) {
		cmd := child(t, "report", "-data", dir)
		start(t, cmd)
		timer := time.AfterFunc(time.Duration(moment*float64(took)), func() { cmd.Process.Kill() })
		t.Logf("kill at %.3f of the report: %v", moment, cmd.Wait())
		timer.Stop()
	}
	if got := reported(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("the report is %+v\nwant %+v", got, want)
	}
}

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("again with the same moments: %s=%d", seedEnv, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// moments returns points between the beginning (0) and the end (1) of an
// import, in order, so that each run gets further than the one before.
func moments(rng *rand.Rand, n int) []float64 {
	m := make([]float64, n)
	for i := range m {
		m[i] = rng.Float64()
	}
	slices.Sort(m)
	return m
}

// killed starts an import and kills it, SIGKILL, at a moment of it: after the
// last line of progress before that, it lets the rest of the time pass. It
// reports whether the import was faster.
func killed(t *testing.T, cmd *exec.Cmd, moment float64, took time.Duration) (finished bool) {
	t.Helper()
	out := start(t, cmd)
	reached, lines := 0.0, bufio.NewScanner(out)
	for moment-reached > 0.05 && lines.Scan() {
		reached = fraction(lines.Text())
	}
	timer := time.AfterFunc(time.Duration((moment-reached)*float64(took)), func() {
		cmd.Process.Kill()
	})
	defer timer.Stop()
	for lines.Scan() { // until the end of the output, which is that of the process
	}
	return cmd.Wait() == nil
}

func start(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return out
}

// fraction returns the part that "DONE of TOTAL orders" says is done, 0 for
// another text.
func fraction(progress string) float64 {
	var done, total float64
	if n, _ := fmt.Sscanf(progress, "%f of %f orders", &done, &total); n < 2 {
		return 0
	}
	return done / total
}

// contents returns the events of the log in a folder, and fails unless the log
// verifies. A server that was killed must have let go of the folder.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	var events []string
	onLog(t, dir, func(log *eventstore.Store) {
		report, err := log.Verify(t.Context(), nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("verify: %v %v", err, report)
		}
		for e, err := range log.Log(t.Context(), 0, nil) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, fmt.Sprint(e.Position, e.Stream, e.Version, e.Time, e.ID(), e.Type, string(e.Data)))
		}
	})
	return events
}

func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	args := generatedImport(t, dir)
	cmd := child(t, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	lines := bufio.NewScanner(start(t, cmd))
	lines.Scan() // the import has begun
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("%v, want exit status 130", cmd.ProcessState)
	}
	var done, total int
	if _, err := fmt.Sscanf(complaints.String(), "orders: interrupted after %d of %d orders", &done, &total); err != nil {
		t.Fatalf("complained %q", complaints.String())
	}
	if done < 1 || done >= total || total != 600 {
		t.Errorf("interrupted after %d of %d orders", done, total)
	}

	// An order that was begun was finished, so the counts are exact.
	requireContains(t, succeed(t, args...), fmt.Sprintf("orders   %10d  %13d\n", total-done, done))
}
