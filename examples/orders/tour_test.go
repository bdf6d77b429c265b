package main_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestTour compares what the guided run prints with testdata/tour.txt, where
// DIR stands for its folder and TIME for what something took.
func TestTour(t *testing.T) {
	t.Parallel()
	cmd := child(t)
	cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir())
	out, err := cmd.Output() // an error if the exit status is not 0
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := regexp.MustCompile(`(?m)^/.*$`).FindString(string(out))
	if dir == "" {
		t.Fatalf("it does not name its folder:\n%s", out)
	}
	text := strings.ReplaceAll(string(out), dir, "DIR")
	took := regexp.MustCompile(`\d[\d.]*(ns|µs|ms|s)\b`)
	golden(t, "tour.txt", took.ReplaceAllString(text, "TIME"))

	// What it invites to is there.
	requireContains(t, string(out), "history -data "+dir+" 1001", "show -data "+dir+" 1001 -at 3")
	requireContains(t, succeed(t, "history", "-data", dir, "1001"), "order.paid          158.45")
	requireContains(t, succeed(t, "show", "-data", dir, "1001", "-at", "3"), "total      65.45 (67.00 before discounts)")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
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
