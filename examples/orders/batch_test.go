package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	orders "github.com/headwater-go/headwater/examples/orders"
)

// Whatever the files hold, no row disappears: it is imported or reported. And
// what is to be imported, the rules allow.
func FuzzReadBatch(f *testing.F) {
	for _, folder := range []string{"testdata/good", "testdata/bad"} {
		f.Add(readFile(f, folder+"/orders.csv"), readFile(f, folder+"/lines.csv"))
	}
	f.Fuzz(func(t *testing.T, ordersText, linesText string) {
		dir := t.TempDir()
		ordersFile, linesFile := filepath.Join(dir, "orders.csv"), filepath.Join(dir, "lines.csv")
		writeFile(t, ordersFile, ordersText)
		writeFile(t, linesFile, linesText)
		b, err := orders.ReadBatch(ordersFile, linesFile)
		if err != nil {
			return
		}
		rows := countRows(linesText) - 1 // one is the header
		if got := b.Lines() + b.Problems(linesFile); got != rows {
			t.Errorf("%d of %d lines are imported or reported", got, rows)
		}
		if err := b.Refused(); err != nil {
			t.Error(err)
		}
	})
}

func countRows(text string) (n int) {
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, "\r\n") != "" {
			n++
		}
	}
	return n
}

func readFile(tb testing.TB, file string) string {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
