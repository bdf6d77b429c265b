package storetest

import (
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// events makes one event of each text.
func events(texts ...string) []eventstore.EventData {
	out := make([]eventstore.EventData, len(texts))
	for i, text := range texts {
		out[i] = eventstore.EventData{Type: "noted", ContentType: "text/plain", Data: []byte(text)}
	}
	return out
}

// add appends where nothing may go wrong.
func add(t *testing.T, s Store, id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) eventstore.Revision {
	t.Helper()
	at, err := s.Append(t.Context(), id, expected, data, opts)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// named is the options of a commit with this id.
func named(id string) *eventstore.AppendOptions { return &eventstore.AppendOptions{CommitID: id} }

func head(t *testing.T, s Store, id eventstore.StreamID) eventstore.Revision {
	t.Helper()
	at, err := s.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// collect reads a sequence to its end.
func collect(events iter.Seq2[eventstore.Event, error]) (all []eventstore.Event, err error) {
	for e, err := range events {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

// read reads a stream to its end.
func read(t *testing.T, s Store, id eventstore.StreamID, opts *eventstore.ReadOptions) []eventstore.Event {
	t.Helper()
	all, err := collect(s.Read(t.Context(), id, opts))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// history reads a whole stream and checks that its versions are 1, 2, 3 ….
func history(t *testing.T, s Store, id eventstore.StreamID) []eventstore.Event {
	t.Helper()
	all := read(t, s, id, nil)
	for i, e := range all {
		if e.Version != uint64(i)+1 || e.Stream != id {
			t.Fatalf("event %d of %s is version %d of %s", i+1, id, e.Version, e.Stream)
		}
	}
	return all
}

func texts(all []eventstore.Event) []string {
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = string(e.Data)
	}
	return out
}

// wantTexts checks the data of all events of a stream.
func wantTexts(t *testing.T, s Store, id eventstore.StreamID, want ...string) {
	t.Helper()
	if got := texts(history(t, s, id)); !slices.Equal(got, want) {
		t.Errorf("stream %s has %q, want %q", id, got, want)
	}
}

// wantConflict checks that err is the conflict of this expectation.
func wantConflict(t *testing.T, err error, id eventstore.StreamID, expected eventstore.Expectation, actual uint64) {
	t.Helper()
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, eventstore.ErrConflict) {
		t.Fatalf("got %v, want a ConflictError", err)
	}
	if conflict.Stream != id || conflict.Expected.String() != expected.String() || conflict.Actual != actual {
		t.Errorf("got %v, want expected %v and actual %d", conflict, expected, actual)
	}
}

// same reports whether two revisions are the same place, replayed or not.
func same(a, b eventstore.Revision) bool {
	return a.Version == b.Version && a.Position == b.Position && a.CommitID == b.CommitID
}

// patience is for what takes a moment; a test that waits longer is broken.
var patience = time.Minute

// seeded returns a source of random numbers that can be had again.
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
