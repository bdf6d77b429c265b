package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(loadersEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

const (
	log    = "5a9c"
	schema = "1"
)

func stream(id string) eventstore.StreamID { return eventstore.StreamID{Kind: "order", ID: id} }

// at returns a snapshot of a stream at a version, whose position is ten times
// that.
func at(id string, version uint64) snapshot.Snapshot {
	return snapshot.Snapshot{
		Stream: stream(id), Log: log, Schema: schema,
		At: eventstore.Revision{Version: version, Position: 10 * version, CommitID: fmt.Sprint("commit ", version)},
	}
}

func state(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// save saves a snapshot whose state is its version.
func save(s *snapshot.Store, snap snapshot.Snapshot) {
	s.Save(snap, state(fmt.Sprint("state ", snap.At.Version)))
}

func flush(t *testing.T, s *snapshot.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// want checks which version of a stream there is; 0: none.
func want(t *testing.T, s *snapshot.Store, id string, version uint64) {
	t.Helper()
	snap, ok := s.Load(t.Context(), stream(id), log, schema)
	if ok != (version > 0) || snap.At.Version != version || ok && string(snap.State) != fmt.Sprint("state ", version) {
		t.Errorf("of %s there is %t: version %d, %q; want version %d", id, ok, snap.At.Version, snap.State, version)
	}
}

// values is a backend in memory that may be told to fail or to wait.
type values struct {
	mu   sync.Mutex
	m    map[string][]byte
	puts int
	fail error
	wait chan struct{} // closed, Put goes on
	in   chan struct{} // gets one for each Put that began
}

func newValues() *values {
	v := &values{m: make(map[string][]byte), wait: make(chan struct{}), in: make(chan struct{}, 1000)}
	close(v.wait)
	return v
}

func (v *values) Get(_ context.Context, key string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.m[key]), v.fail
}

func (v *values) Put(_ context.Context, put map[string][]byte) error {
	v.mu.Lock()
	wait := v.wait
	v.mu.Unlock()
	v.in <- struct{}{}
	<-wait
	v.mu.Lock()
	defer v.mu.Unlock()
	v.puts++
	if v.fail != nil {
		return v.fail
	}
	for key, value := range put {
		if v.m[key] = bytes.Clone(value); value == nil {
			delete(v.m, key)
		}
	}
	return nil
}

func (v *values) All(context.Context) iter.Seq2[snapshot.Entry, error] {
	return func(yield func(snapshot.Entry, error) bool) {
		if v.fail != nil {
			yield(snapshot.Entry{}, v.fail)
			return
		}
		for key, value := range v.m {
			if !yield(snapshot.Entry{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

func (v *values) Close() error { return v.fail }

func (v *values) set(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

// slow returns a store that saves when it is flushed.
func slow(t *testing.T, b snapshot.Backend, opts *snapshot.Options) *snapshot.Store {
	s := snapshot.NewSlow(b, opts)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSnapshotComesBack(t *testing.T) {
	t.Parallel()
	s := slow(t, newValues(), nil)
	full := at("größer /100%", 7)
	full.Applied = []snapshot.Applied{{ID: snapshot.KeyOf("a"), Version: 2}, {ID: snapshot.KeyOf("b"), Version: 7}}
	full.Taken = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	full.State = []byte("state\x00\xff")
	s.Save(full, state("state\x00\xff"))
	empty := snapshot.Snapshot{Stream: stream("empty"), Taken: full.Taken}
	s.Save(empty, state(""))
	flush(t, s)
	if got, ok := s.Load(t.Context(), full.Stream, log, schema); !ok || !reflect.DeepEqual(got, full) {
		t.Errorf("%t: %+v comes back as %+v", ok, full, got)
	}
	if got, ok := s.Load(t.Context(), empty.Stream, "", ""); !ok || !got.Taken.Equal(empty.Taken) || len(got.State)+len(got.Applied) > 0 {
		t.Errorf("%t: the empty one comes back as %+v", ok, got)
	}
}

// The older never replaces the newer, whether they are saved together or one
// after the other, and what is of no use is replaced in any case.
func TestOlderNeverReplacesNewer(t *testing.T) {
	t.Parallel()
	other := at("1", 5)
	other.Schema = "2"
	elsewhere := at("1", 5)
	elsewhere.Log = "another"
	for name, tt := range map[string]struct {
		saved  []snapshot.Snapshot
		schema string
		log    string
		want   uint64
	}{
		"newer":        {[]snapshot.Snapshot{at("1", 5), at("1", 10)}, schema, log, 10},
		"older":        {[]snapshot.Snapshot{at("1", 10), at("1", 5)}, schema, log, 10},
		"the same":     {[]snapshot.Snapshot{at("1", 5), at("1", 5)}, schema, log, 5},
		"other schema": {[]snapshot.Snapshot{at("1", 10), other}, "2", log, 5},
		"other log":    {[]snapshot.Snapshot{at("1", 10), elsewhere}, schema, "another", 5},
		"back again":   {[]snapshot.Snapshot{at("1", 10), other, at("1", 7)}, schema, log, 7},
	} {
		for _, together := range []bool{true, false} {
			s := slow(t, newValues(), nil)
			for _, snap := range tt.saved {
				save(s, snap)
				if !together {
					flush(t, s)
				}
			}
			flush(t, s)
			snap, ok := s.Load(t.Context(), stream("1"), tt.log, tt.schema)
			if !ok || snap.At.Version != tt.want {
				t.Errorf("%s, together %t: there is version %d, want %d", name, together, snap.At.Version, tt.want)
			}
		}
	}
}

// After one was discarded an older one can be saved.
func TestDiscard(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{true, false} {
		s := slow(t, newValues(), nil)
		save(s, at("1", 10))
		flush(t, s)
		snap, _ := s.Load(t.Context(), stream("1"), log, schema)
		s.Discard(snap, errors.New("of no use"))
		if !together {
			flush(t, s)
			want(t, s, "1", 0)
		}
		save(s, at("1", 4))
		save(s, at("1", 3))
		flush(t, s)
		want(t, s, "1", 4)
		if st := s.Stats(); st.Discarded != 1 {
			t.Errorf("counted: %+v", st)
		}
	}
}

func TestWhatIsOfNoUse(t *testing.T) {
	t.Parallel()
	v := newValues()
	var text lockedBuffer
	s := slow(t, v, &snapshot.Options{Logger: slog.New(slog.NewTextHandler(&text, nil))})
	for i := range 3 {
		save(s, at(fmt.Sprint(i), 5))
	}
	flush(t, s)
	for i := range 3 {
		if _, ok := s.Load(t.Context(), stream(fmt.Sprint(i)), "another", schema); ok {
			t.Error("a snapshot of another log is used")
		}
		if _, ok := s.Load(t.Context(), stream(fmt.Sprint(i)), log, "2"); ok {
			t.Error("a snapshot of another schema is used")
		}
	}
	// Under each other's names, with a bit flipped anywhere, cut anywhere.
	v.set(func() { v.m["order/0"], v.m["order/1"] = v.m["order/1"], v.m["order/0"] })
	want(t, s, "0", 0)
	want(t, s, "1", 0)
	good := bytes.Clone(v.m["order/2"])
	damaged := uint64(2)
	for i := range good {
		for bit := range 8 {
			v.set(func() { v.m["order/2"] = bytes.Clone(good); v.m["order/2"][i] ^= 1 << bit })
			want(t, s, "2", 0)
			damaged++
		}
		v.set(func() { v.m["order/2"] = good[:i:i] })
		want(t, s, "2", 0)
		damaged++
	}
	st := s.Stats()
	if st.OtherLog != 3 || st.OtherSchema != 3 || st.Damaged != damaged || st.Misses != 6+damaged || st.Hits != 0 {
		t.Errorf("%d damaged, and counted: %+v", damaged, st)
	}
	if lines := strings.Count(text.String(), "\n"); lines != 3 {
		t.Errorf("logged %d lines, want one for each kind:\n%s", lines, text.String())
	}
	// Damaged ones are removed.
	flush(t, s)
	if v.m["order/0"] != nil || v.m["order/2"] != nil {
		t.Error("a damaged snapshot is still there")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestListAndPrune(t *testing.T) {
	t.Parallel()
	v := newValues()
	s := slow(t, v, nil)
	for i := range 30 {
		snap := at(fmt.Sprint(i), uint64(i)+1)
		if i%3 == 0 {
			snap.Log = "old"
		}
		save(s, snap)
	}
	flush(t, s)
	v.set(func() { v.m["order/1"][20]++; v.m["strange"] = []byte("x") })
	n := 0
	for info, err := range s.List(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case info.Stream.ID == "1" || info.Stream.ID == "":
			if info.Damage == nil || info.Version > 0 {
				t.Errorf("listed as sound: %+v", info)
			}
		case info.Damage != nil || fmt.Sprint(info.Version-1) != info.Stream.ID || info.Position != 10*info.Version || info.Size < 20 || time.Since(info.Taken) > time.Hour:
			t.Errorf("listed: %+v", info)
		}
		n++
	}
	removed, err := s.Prune(t.Context(), func(i snapshot.Info) bool { return i.Damage != nil || i.Log == "old" })
	if n != 31 || removed != 12 || err != nil || len(v.m) != 19 {
		t.Errorf("%d listed, %d removed, %v, %d left", n, removed, err, len(v.m))
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	p := snapshot.Progress{Events: 10, Cost: time.Millisecond}
	for name, tt := range map[string]struct {
		policy snapshot.Policy
		want   bool
	}{
		"every 10":  {snapshot.Every(10), true},
		"every 11":  {snapshot.Every(11), false},
		"cost 1 ms": {snapshot.Costing(time.Millisecond), true},
		"cost 2 ms": {snapshot.Costing(2 * time.Millisecond), false},
		"never":     {snapshot.Never, false},
	} {
		if got := tt.policy(p); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
