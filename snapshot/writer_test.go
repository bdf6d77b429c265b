package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/headwater-go/headwater/snapshot"
)

// While nothing can be written nobody waits: the oldest requests are dropped.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	v := newValues()
	hold := make(chan struct{})
	v.wait = hold
	s := snapshot.New(v, &snapshot.Options{Queue: 10})
	defer s.Close()
	save(s, at("first", 1))
	<-v.in // it is being written, and waits
	for i := range 100 {
		save(s, at(fmt.Sprint(i), 1))
	}
	save(s, at("99", 2)) // takes the place of the one that waits
	if st := s.Stats(); st.Dropped != 90 || st.Waiting != 10 {
		t.Errorf("counted: %+v", st)
	}
	close(hold)
	flush(t, s)
	want(t, s, "first", 1)
	want(t, s, "89", 0)
	want(t, s, "90", 1)
	want(t, s, "99", 2)
}

// What comes together is written together.
func TestSavesAreCollected(t *testing.T) {
	t.Parallel()
	v := newValues()
	s := slow(t, v, &snapshot.Options{Queue: 10_000})
	for version := range uint64(3) {
		for i := range 1000 {
			save(s, at(fmt.Sprint(i), version+1))
		}
	}
	flush(t, s)
	if st := s.Stats(); v.puts != 1 || st.Saved != 1000 || st.Waiting != 0 {
		t.Errorf("%d writes, %+v", v.puts, st)
	}
	// Large ones are written in parts.
	for i := range 10 {
		s.Save(at(fmt.Sprint(i), 9), func() ([]byte, error) { return make([]byte, 2<<20), nil })
	}
	if flush(t, s); v.puts != 6 {
		t.Errorf("20 MiB were written in %d parts", v.puts-1)
	}
}

// What failed before is told by the next flush, once.
func TestFlushTellsWhatFailed(t *testing.T) {
	t.Parallel()
	v := newValues()
	broken := errors.New("broken")
	v.fail = broken
	s := snapshot.New(v, nil)
	defer s.Close()
	save(s, at("1", 1))
	<-v.in
	for s.Stats().Failed == 0 {
		runtime.Gosched()
	}
	if err := s.Flush(t.Context()); !errors.Is(err, broken) {
		t.Errorf("flushed: %v", err)
	}
	v.set(func() { v.fail = nil })
	flush(t, s)
}

// A snapshot that waits to be saved is not lost because an older one is to be
// removed.
func TestDiscardSparesTheNewer(t *testing.T) {
	t.Parallel()
	s := slow(t, newValues(), nil)
	save(s, at("1", 20))
	flush(t, s)
	snap, _ := s.Load(t.Context(), stream("1"), log, schema)
	save(s, at("1", 9))
	s.Discard(snap, errors.New("of no use"))
	flush(t, s)
	want(t, s, "1", 9)
}

// Without a flush they are written soon.
func TestSavesBySelf(t *testing.T) {
	t.Parallel()
	v := newValues()
	s := snapshot.New(v, nil)
	defer s.Close()
	save(s, at("1", 1))
	<-v.in
	flush(t, s)
	want(t, s, "1", 1)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	v := newValues()
	s := snapshot.NewSlow(v, nil)
	s.Save(at("1", 1), func() ([]byte, error) { panic("a marshaler's own fault") })
	s.Save(at("2", 1), func() ([]byte, error) { return nil, errors.New("cannot be encoded") })
	save(s, at("3", 1))
	flush(t, s)
	want(t, s, "1", 0)
	want(t, s, "2", 0)
	want(t, s, "3", 1)
	broken := errors.New("broken")
	v.set(func() { v.fail = broken })
	save(s, at("3", 2))
	if err := s.Flush(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a flush that fails: %v", err)
	}
	want(t, s, "3", 0)
	if st := s.Stats(); st.Failed != 3 || st.Unreadable != 1 || st.Saved != 1 {
		t.Errorf("counted: %+v", st)
	}
	for _, err := range s.List(t.Context()) {
		if !errors.Is(err, broken) {
			t.Errorf("listed: %v", err)
		}
	}
	if _, err := s.Prune(t.Context(), func(snapshot.Info) bool { return true }); !errors.Is(err, broken) {
		t.Errorf("pruned: %v", err)
	}
	if err := s.Compact(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("compacted: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a flush whose context has ended: %v", err)
	}
	save(s, at("4", 1))
	for range 2 {
		if err := s.Close(); !errors.Is(err, broken) {
			t.Errorf("closed: %v", err)
		}
	}
}

// Close saves what waits, and is the end.
func TestClose(t *testing.T) {
	t.Parallel()
	v := newValues()
	s := snapshot.NewSlow(v, nil)
	save(s, at("1", 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(v.m) != 1 {
		t.Error("what waited is not saved")
	}
	save(s, at("2", 1))
	if err := s.Flush(t.Context()); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("flushed: %v", err)
	}
	if st := s.Stats(); st.Dropped != 1 || st.Saved != 1 {
		t.Errorf("counted: %+v", st)
	}
}
