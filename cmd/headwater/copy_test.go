package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// seeded returns a source of random numbers that can be had again: it says its
// seed, and takes it from HEADWATER_SEED where that is set.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// fillRandom appends commits of 1 to 5 events to a few streams.
func fillRandom(t *testing.T, log *eventstore.Store, rng *rand.Rand, commits int) {
	t.Helper()
	for i := range commits {
		var events []eventstore.EventData
		for range 1 + rng.IntN(5) {
			events = append(events, jsonEvent(fmt.Sprint("type.", rng.IntN(3)), strconv.Itoa(rng.Int())))
		}
		stream := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(rng.IntN(9))}
		add(t, log, stream, &eventstore.AppendOptions{CommitID: fmt.Sprint("c", i), Time: day.Add(time.Duration(i))}, events...)
	}
}

// contents returns a log without what a copy does not keep: positions, the
// times of recording, and its name. Instead it has the numbers of the commits.
func contents(t *testing.T, log *eventstore.Store) (all []eventstore.Event) {
	t.Helper()
	for e, err := range log.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		// Without its commit the event would not know its id.
		all = append(all, eventstore.Event{
			EventData: eventstore.EventData{Type: e.ID() + " " + e.Type, ContentType: e.ContentType, Data: bytes.Clone(e.Data)},
			Stream:    e.Stream, Version: e.Version, CommitID: e.CommitID, Time: e.Time, Metadata: e.Metadata,
		})
	}
	return all
}

// requireBeginning fails the test unless a log is what another one begins with.
func requireBeginning(t *testing.T, got, want *eventstore.Store) {
	t.Helper()
	a, b := contents(t, got), contents(t, want)
	t.Logf("%d of %d events are there", len(a), len(b))
	if len(a) > len(b) {
		t.Fatal("there are too many")
	}
	for i := range a {
		if !reflect.DeepEqual(a[i], b[i]) {
			t.Fatalf("number %d is the first that differs:\n%+v\n%+v", i+1, a[i], b[i])
		}
	}
}

func requireSame(t *testing.T, got, want *eventstore.Store) {
	t.Helper()
	requireBeginning(t, got, want)
	requireBeginning(t, want, got)
}

// totals returns what an import prints, given "added present" for commits and
// events.
func totals(commits, events string) string {
	table := fmt.Sprintf("%-8s %10s  %13s\n", "", "added", "already there")
	for _, row := range []string{"commits " + commits, "events " + events} {
		f := strings.Fields(row)
		table += fmt.Sprintf("%-8s %10s  %13s\n", f[0], f[1], f[2])
	}
	return table
}

func TestCopy(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	from, to := onServer(t, server, "shop"), onServer(t, server, "copy")
	fill(t, from.log)
	fillRandom(t, from.log, seeded(t), 200)
	text := succeed(t, from.with("export")...)
	lines := uint64(strings.Count(text, "\n"))

	if got, want := succeedWith(t, text, to.with("import")...), totals("204 0", fmt.Sprint(lines, 0)); got != want {
		t.Errorf("it printed\n%s\nwant\n%s", got, want)
	}
	requireSame(t, to.log, from.log)
	if got, want := succeedWith(t, text, to.with("import", "-")...), totals("0 204", fmt.Sprint(0, lines))+"nothing new\n"; got != want {
		t.Errorf("it printed\n%s\nwant\n%s", got, want)
	}
	requireSame(t, to.log, from.log)
	for _, s := range []site{from, to} {
		succeed(t, s.with("verify")...)
	}
	// A copy's export is another log's, and otherwise the same.
	again := strings.ReplaceAll(succeed(t, to.with("export")...), `"source":"/copy/`, `"source":"/shop/`)
	if varying.ReplaceAllString(again, "") != varying.ReplaceAllString(text, "") {
		t.Error("the export of the copy is another one")
	}
}

// From a folder through a file into a folder, which is made.
func TestCopyFolder(t *testing.T) {
	t.Parallel()
	dir, to := inFolder(t, func(log *eventstore.Store) { fill(t, log) }), filepath.Join(t.TempDir(), "new")
	file := filepath.Join(t.TempDir(), "shop.jsonl")
	if got, want := succeed(t, "export", "-data", dir, "-o", file), "log shop up to position 4: 10 events\n"; got != want {
		t.Errorf("it printed %q, want %q", got, want)
	}
	if got, want := succeed(t, "export", "-data", dir, "-o", file, "-json"), `{"log":"shop","events":10,"position":4}`+"\n"; got != want {
		t.Errorf("it printed %q, want %q", got, want)
	}
	succeed(t, "export", "-data", dir, "-o", os.DevNull)
	requireFailure(t, "there is no folder "+to, "import", file, "-data", to)
	got := succeed(t, "import", file, "-data", to, "-log", "copy", "-json")
	if want := `{"log":"copy","commits":{"added":4,"present":0},"events":{"added":10,"present":0},"attributesLeftOut":0}` + "\n"; got != want {
		t.Errorf("it printed %s, want %s", got, want)
	}
	for _, args := range [][]string{{"cat", "order/42"}, {"cat", "cart/é/% .*>"}, {"streams"}} {
		if got, want := succeed(t, append(args, "-data", to)...), succeed(t, append(args, "-data", dir)...); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", args[0], got, want)
		}
	}
	succeed(t, "verify", "-data", to)
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v", entries, err)
	}
}

// A stopper gives a text until so many bytes are read, and presses Ctrl-C then.
type stopper struct {
	io.Reader
	left int
	stop context.CancelFunc
}

func (s *stopper) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p[:min(len(p), 100)])
	if s.left -= n; s.left < 0 {
		s.stop()
	}
	return n, err
}

func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	server := startServer(t)
	from, to := onServer(t, server, "shop"), onServer(t, server, "copy")
	fillRandom(t, from.log, rng, 200)
	text := succeed(t, from.with("export")...)
	for range 5 {
		ctx, stop := context.WithCancel(t.Context())
		r := runWith(ctx, &stopper{strings.NewReader(text), rng.IntN(len(text)), stop}, to.with("import")...)
		stop()
		if r.status != 130 {
			t.Errorf("exit status %d, %s", r.status, r.errors)
		}
		requireContains(t, r.errors, "interrupted after ", "the same command goes on from here")
		requireBeginning(t, to.log, from.log)
	}
	succeedWith(t, text, to.with("import")...)
	requireSame(t, to.log, from.log)
}

func TestImportKilled(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	server := startServer(t)
	from, to := onServer(t, server, "shop"), onServer(t, server, "copy")
	fillRandom(t, from.log, rng, 400)
	text := succeed(t, from.with("export")...)
	for range 3 {
		cmd := child(t, to.with("import")...)
		cmd.Stdin = &stopper{strings.NewReader(text), rng.IntN(len(text)), func() { _ = cmd.Process.Kill() }}
		if err := cmd.Run(); err == nil {
			t.Error("it was not killed")
		}
		requireBeginning(t, to.log, from.log)
	}
	succeedWith(t, text, to.with("import")...)
	requireSame(t, to.log, from.log)
}

// An import that waits for its input ends too.
func TestImportWaiting(t *testing.T) {
	t.Parallel()
	s := onServer(t, startServer(t), "shop")
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		_, _ = io.WriteString(w, "\n") // it reads
		stop()
	}()
	if r := runWith(ctx, r, s.with("import")...); r.status != 130 {
		t.Errorf("exit status %d, %s", r.status, r.errors)
	}
}
