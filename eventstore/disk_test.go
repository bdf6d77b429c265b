//go:build linux

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// fill takes all the space that is left on the disk, and returns what gives it
// back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, endlessZeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

type endlessZeros struct{}

func (endlessZeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// An author appends to a stream of its own and notes what became of it.
type author struct {
	id      eventstore.StreamID
	at      eventstore.Revision
	acked   []string
	text    string // of the last append
	unknown *eventstore.UnknownOutcomeError
}

const diskDeadline = time.Second

// append appends one event more. Every error is one that says what the caller
// may do, and comes in time.
func (w *author) append(t *testing.T, store *eventstore.Store) error {
	ctx, cancel := context.WithTimeout(t.Context(), diskDeadline)
	defer cancel()
	begin := time.Now()
	w.text = fmt.Sprintf("%s %d %0900d", w.id, len(w.acked), 0)
	at, err := store.Append(ctx, w.id, w.at, events(w.text), nil)
	if took := time.Since(begin); took > diskDeadline+patience/10 {
		t.Errorf("an append with a deadline of %s took %s", diskDeadline, took)
	}
	switch {
	case err == nil:
		w.at, w.acked = at, append(w.acked, w.text)
	case !errors.As(err, &w.unknown):
		t.Errorf("stream %s: %v", w.id, err)
	}
	return err
}

// settle repeats the append that had no answer until it has one.
func (w *author) settle(t *testing.T, store *eventstore.Store) {
	eventually(t, "the append that had no answer is settled", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), diskDeadline)
		defer cancel()
		at, err := store.Append(ctx, w.id, w.unknown.Expected, events(w.text), named(w.unknown.CommitID))
		switch {
		case err == nil:
			w.at, w.acked, w.unknown = at, append(w.acked, w.text), nil
		case !errors.Is(err, eventstore.ErrUnknownOutcome):
			t.Errorf("stream %s: repeated: %v", w.id, err)
		}
		return err == nil || t.Failed()
	})
}

// A disk fills up under several writers and has space again. Nobody does
// anything but append.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed=%t", relaxed), func(t *testing.T) {
			t.Parallel()
			diskFull(t, relaxed)
		})
	}
}

func diskFull(t *testing.T, relaxed bool) {
	disk := testutil.Disk(t, "size=16m")
	server, err := embedded.Start(t.Context(), filepath.Join(disk, "data"), &embedded.Options{Relaxed: relaxed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	var lost sync.Map // connections that were
	connect := func(name string) *nats.Conn {
		nc, err := server.Connect(nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				lost.Store(name, err)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	site := site{replicas: 1}
	store := site.open(t, connect("writers"), "full", nil)
	other := site.open(t, connect("another log"), "other", nil)
	verifyAtEnd(t, store)
	verifyAtEnd(t, other)
	bystander := connect("bystander")
	if _, err := bystander.Subscribe("ping", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	followed := follow(t, site.open(t, connect("follower"), "full", nil))

	writers := make([]*author, 4)
	var running sync.WaitGroup
	for i := range writers {
		w := &author{id: eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}}
		writers[i] = w
		if err := w.append(t, store); err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			for w.append(t, store) == nil {
			}
		})
	}
	quiet := &author{id: stream(t)}
	if err := quiet.append(t, other); err != nil {
		t.Fatal(err)
	}
	free := fill(t, disk)
	running.Wait()

	// What is stored can be read, and everybody else goes on.
	for _, w := range writers {
		if got := texts(history(t, store, w.id)); !slices.Equal(got, w.acked) {
			t.Errorf("on the full disk stream %s has %d events, and %d were acknowledged", w.id, len(got), len(w.acked))
		}
	}
	wantTexts(t, other, quiet.id, quiet.acked...)
	if _, err := bystander.Request("ping", nil, patience); err != nil {
		t.Errorf("another's request: %v", err)
	}
	for quiet.append(t, other) == nil { // in what is left of its file
	}

	free()
	for _, w := range append(writers, quiet) {
		log := store
		if w == quiet {
			log = other
		}
		running.Go(func() {
			w.settle(t, log)
			for range 10 {
				if err := w.append(t, log); err != nil {
					t.Errorf("with space again: %v", err)
					return
				}
			}
		})
	}
	running.Wait()
	for _, w := range writers {
		wantTexts(t, store, w.id, w.acked...)
	}
	wantTexts(t, other, quiet.id, quiet.acked...)
	last, err := store.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower has seen all", func() bool { return followed.Load() == last })
	lost.Range(func(name, err any) bool {
		t.Errorf("the connection of %s was lost: %v", name, err)
		return true
	})
}

// follow reads a log from its beginning for as long as the test runs, and
// returns where it stands.
func follow(t *testing.T, store *eventstore.Store) *atomic.Uint64 {
	at := new(atomic.Uint64)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for e, err := range store.Follow(ctx, 0, nil) {
			if ctx.Err() != nil {
				return
			}
			if err != nil || e.Position != at.Load()+1 {
				t.Errorf("following after position %d: %d, %v", at.Load(), e.Position, err)
				return
			}
			at.Store(e.Position)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return at
}
