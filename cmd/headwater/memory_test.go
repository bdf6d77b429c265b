//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// Export and import take no more memory for ten times as many events, in
// commits of ten, on streams of a hundred commits.
func TestMemory(t *testing.T) {
	t.Parallel()
	sizes, elsewhere := [2]int{5_000, 50_000}, [2]int{500, 5_000}
	if os.Getenv("HEADWATER_SOAK") != "" {
		sizes = [2]int{100_000, 1_000_000}
		elsewhere = sizes
	}
	server := startServer(t)
	var exported, imported, repeated, foreign [2]int
	for i, n := range sizes {
		from, to := onServer(t, server, fmt.Sprint("from", n)), onServer(t, server, fmt.Sprint("to", n))
		fillLarge(t, from.log, n)
		file := filepath.Join(t.TempDir(), "log.jsonl")
		exported[i] = peak(t, nil, from.with("export", "-o", file)...)
		imported[i] = peak(t, nil, to.with("import", file)...)
		repeated[i] = peak(t, nil, to.with("import", file)...)
		into := onServer(t, server, fmt.Sprint("foreign", n))
		foreign[i] = peak(t, foreignLines(elsewhere[i]), into.with("import", "-kind", "sensor")...)
	}
	const slack = 12 << 10 // KiB; the short form's files alone differ by 16 MiB
	for what, kib := range map[string][2]int{"export": exported, "import": imported, "repeated import": repeated} {
		t.Logf("%s: %d and %d KiB", what, kib[0], kib[1])
		if kib[1] > kib[0]+slack {
			t.Errorf("%s of %d events takes %d KiB, and of %d takes %d KiB", what, sizes[0], kib[0], sizes[1], kib[1])
		}
	}
	// With -kind ids are kept, up to a bound.
	t.Logf("import -kind of %d and %d events: %d and %d KiB", elsewhere[0], elsewhere[1], foreign[0], foreign[1])
	if foreign[1] > foreign[0]+150<<10 {
		t.Errorf("import -kind of %d events takes %d KiB more than of %d", elsewhere[1], foreign[1]-foreign[0], elsewhere[0])
	}
}

func fillLarge(t *testing.T, log *eventstore.Store, n int) {
	t.Helper()
	data := fmt.Sprintf(`{"text":"%0100d"}`, 0)
	events := make([]eventstore.EventData, 10)
	for i := range events {
		events[i] = jsonEvent("counted", data)
	}
	for i := 0; i < n/len(events); i += 100 {
		var at eventstore.Expectation = eventstore.NoStream
		for range 100 {
			next, err := log.Append(t.Context(), eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}, at, events, nil)
			if err != nil {
				t.Fatal(err)
			}
			at = next
		}
	}
}

func foreignLines(n int) io.Reader {
	return bytes.NewReader([]byte(readings(n, 1+n/1000)))
}

// peak runs the program in a process and returns the most memory it had, in
// KiB. What the system says of a process that ended includes its parent.
func peak(t *testing.T, in io.Reader, args ...string) (kib int) {
	t.Helper()
	cmd := child(t, args...)
	cmd.Stdin = in
	file := filepath.Join(t.TempDir(), "status")
	cmd.Env = append(cmd.Env, statusEnv+"="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
