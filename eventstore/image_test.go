package eventstore_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

// A ledger is what the writers of a log were told: the truth that whatever
// becomes of the log is compared with.
type ledger struct {
	ids     []eventstore.StreamID // in the order of their first commits
	commits map[eventstore.StreamID][]acknowledged
}

type acknowledged struct {
	at    eventstore.Revision
	texts []string
}

func newLedger() ledger {
	return ledger{commits: make(map[eventstore.StreamID][]acknowledged)}
}

func (l ledger) clone() ledger {
	l.ids, l.commits = slices.Clone(l.ids), maps.Clone(l.commits)
	for id, commits := range l.commits {
		l.commits[id] = slices.Clone(commits)
	}
	return l
}

// end returns the revision that a stream had last.
func (l ledger) end(id eventstore.StreamID) (at eventstore.Revision) {
	if commits := l.commits[id]; len(commits) > 0 {
		at = commits[len(commits)-1].at
	}
	return at
}

func (l *ledger) add(id eventstore.StreamID, at eventstore.Revision, texts []string) {
	if len(l.commits[id]) == 0 {
		l.ids = append(l.ids, id)
	}
	l.commits[id] = append(l.commits[id], acknowledged{at, texts})
}

// differs says how what was read of a stream is not what was acknowledged, ""
// if it is.
func (l ledger) differs(id eventstore.StreamID, got []eventstore.Event) string {
	n, version := 0, uint64(0)
	for _, c := range l.commits[id] {
		for _, text := range c.texts {
			if version++; n == len(got) {
				return fmt.Sprintf("it ends before version %d", version)
			}
			e := got[n]
			if e.Version != version || e.Position != c.at.Position || e.CommitID != c.at.CommitID || string(e.Data) != text {
				return fmt.Sprintf("version %d at position %d is version %d at position %d", version, c.at.Position, e.Version, e.Position)
			}
			n++
		}
	}
	if n < len(got) {
		return fmt.Sprintf("it goes on to version %d", got[len(got)-1].Version)
	}
	return ""
}

// An image is the folder of a server that does not run, with what was
// acknowledged. It is copied and never started itself.
type image struct {
	ledger
	name string
	dir  string
	mark string // the file of the high-water mark
}

const (
	imageLog     = "image"
	imageStreams = 24
	imageBlock   = 16 << 10
)

func (i image) stored(t testing.TB) storedLog { return storedIn(t, i.dir, imageLog) }

// copy copies the image to a folder of the test that calls it.
func (i image) copy(t testing.TB) image {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(i.dir))); err != nil {
		t.Fatal(err)
	}
	i.ledger = i.ledger.clone()
	i.dir, i.mark = filepath.Join(dir, filepath.Base(i.dir)), filepath.Join(dir, filepath.Base(i.mark))
	return i
}

// images makes the same log three times: as it was at half of its length, after
// a stop in good order, and after a kill a few commits later.
func images(t *testing.T, rng *rand.Rand) (older, stopped, killed image) {
	t.Helper()
	dir := t.TempDir()
	at := image{ledger: newLedger(), dir: filepath.Join(dir, "server"), mark: filepath.Join(dir, "mark")}
	keep := func(name string) image {
		kept := at.copy(t)
		kept.name = name
		return kept
	}
	// The third part of the streams is written to in the first half only, so
	// that their last commits are in old blocks.
	at.session(t, func(store *eventstore.Store) {
		at.grow(t, store, rng, 0, imageStreams, 130)
	})
	older = keep("older")
	at.session(t, func(store *eventstore.Store) {
		at.grow(t, store, rng, imageStreams/3, imageStreams, 130)
	})
	at.stored(t).split(imageBlock)
	at.session(t, nil) // writes the index
	stopped = keep("stopped")
	at.session(t, func(store *eventstore.Store) {
		at.grow(t, store, rng, imageStreams/2, imageStreams+3, 40)
		killed = keep("killed")
	})
	for _, i := range []image{stopped, killed} {
		if n := len(i.stored(t).blocks()); n < 4 {
			t.Fatalf("the log has %d blocks: too few to tell an old one from the last", n)
		}
	}
	return older, stopped, killed
}

// session runs a server on the folder for as long as f takes.
func (i *image) session(t *testing.T, f func(*eventstore.Store)) {
	t.Helper()
	server, err := embedded.Start(t.Context(), i.dir, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	if f != nil {
		store, err := eventstore.Open(t.Context(), testutil.Connect(t, server), imageLog, i.options(nil))
		if err != nil {
			t.Fatal(err)
		}
		f(store)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
}

// options are those of a process that has appended to the log before.
func (i *image) options(found func(*eventstore.CorruptionError)) *eventstore.Options {
	return &eventstore.Options{HighWater: i.mark, OnDamage: found}
}

// grow appends commits to streams chosen at random, of which it leaves none
// without one.
func (i *image) grow(t *testing.T, store *eventstore.Store, rng *rand.Rand, first, end, commits int) {
	t.Helper()
	for n := range commits {
		number := first + rng.IntN(end-first)
		if n < end-first {
			number = first + n
		}
		id := imageID(number)
		texts := make([]string, 1+rng.IntN(10)/8)
		for k := range texts {
			texts[k] = fmt.Sprint(n, " ", k, " ", strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(400)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		at, err := store.Append(ctx, id, i.end(id), events(texts...), nil)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		i.add(id, at, texts)
	}
}

func imageID(n int) eventstore.StreamID {
	return eventstore.StreamID{Kind: "order", ID: fmt.Sprintf("s%02d", n)}
}

func imageSubject(id eventstore.StreamID) string { return imageLog + "." + id.Kind + "." + id.ID }
