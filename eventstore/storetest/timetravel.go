package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var timeItems = []item{
	{"40 up to a time", readUntil},
	{"40 up to a recorded time", readUntilRecorded},
	{"43 backward, with limit and bounds", readBackward},
	{"44 the last event, and the last of a type", readLast},
}

// The times of a stream's commits need not grow: a read up to a time is a
// prefix all the same.
func readUntil(t *testing.T, s suite) {
	id := s.stream()
	day := func(n int) time.Time { return time.Date(2024, time.May, n, 0, 0, 0, 0, time.UTC) }
	var at eventstore.Revision
	for i, n := range []int{3, 5, 4, 7, 1, 9} {
		at = add(t, s.shared, id, at, events(fmt.Sprint(i, "a"), fmt.Sprint(i, "b")), &eventstore.AppendOptions{Time: day(n)})
	}
	all := texts(history(t, s.shared, id))
	for _, test := range []struct{ day, events int }{
		{2, 0}, {3, 2}, {4, 2}, {5, 6}, {6, 6}, {7, 10}, {8, 10}, {9, 12}, {10, 12},
	} {
		for from := 1; from <= len(all); from += 3 {
			want := all[:test.events]
			want = want[min(from-1, len(want)):]
			opts := &eventstore.ReadOptions{From: uint64(from), Until: day(test.day)}
			if got := texts(read(t, s.shared, id, opts)); !slices.Equal(got, want) {
				t.Errorf("from version %d until day %d: %q, want %q", from, test.day, got, want)
			}
			opts.Backward = true
			want = slices.Clone(want)
			slices.Reverse(want)
			if got := texts(read(t, s.shared, id, opts)); !slices.Equal(got, want) {
				t.Errorf("backward from version %d until day %d: %q, want %q", from, test.day, got, want)
			}
		}
	}
	if got := texts(read(t, s.shared, id, &eventstore.ReadOptions{Until: day(9), To: 3})); !slices.Equal(got, all[:3]) {
		t.Errorf("a version and a time: %q", got)
	}
}

func readUntilRecorded(t *testing.T, s suite) {
	id := s.stream()
	var at eventstore.Revision
	for i := range 5 {
		at = add(t, s.shared, id, at, events(fmt.Sprint(i)), &eventstore.AppendOptions{Time: time.Unix(int64(100-i), 0)})
	}
	all := history(t, s.shared, id)
	for i, e := range all {
		// Commits may share a time, and a clock may be set back.
		want := 0
		for want < len(all) && !all[want].Recorded.After(e.Recorded) {
			want++
		}
		if got := read(t, s.shared, id, &eventstore.ReadOptions{UntilRecorded: e.Recorded}); len(got) != want {
			t.Errorf("until event %d was recorded: %d events, want %d", i+1, len(got), want)
		}
	}
}

func readBackward(t *testing.T, s suite) {
	id := s.stream()
	random := seeded(t)
	var at eventstore.Revision
	for at.Version < 1800 {
		at = add(t, s.shared, id, at, events([]string{"a", "b", "c"}[:1+random.IntN(3)]...), nil)
	}
	all := history(t, s.shared, id)
	n := uint64(len(all))
	check := func(opts eventstore.ReadOptions, limit uint64) {
		t.Helper()
		opts.Backward = true
		after := 0
		if opts.After.Version > 0 {
			after = commitEnd(all, int(opts.After.Version))
		}
		next := n
		if opts.To > 0 {
			next = min(next, opts.To)
		}
		from := max(opts.From, uint64(after)+1, 1)
		read := uint64(0)
		for e, err := range s.shared.Read(t.Context(), id, &opts) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Version != next || e.Position != all[next-1].Position {
				t.Fatalf("backward with %+v: version %d, want %d", opts, e.Version, next)
			}
			next--
			if read++; read == limit {
				return
			}
		}
		if want := min(limit, n+1); next+1 != from && read < want && from <= n {
			t.Fatalf("backward with %+v ended before version %d", opts, next)
		}
	}
	check(eventstore.ReadOptions{}, n+1)
	check(eventstore.ReadOptions{}, 1)
	check(eventstore.ReadOptions{From: n + 1}, n)
	for range 6 {
		from, to := 1+random.Uint64N(n), 1+random.Uint64N(n)
		if from > to {
			from, to = to, from
		}
		check(eventstore.ReadOptions{From: from, To: to}, n)
		check(eventstore.ReadOptions{To: to}, 1+random.Uint64N(20))
		check(eventstore.ReadOptions{After: all[from-1].Revision()}, n)
	}
}

func readLast(t *testing.T, s suite) {
	id := s.stream()
	at := add(t, s.shared, id, eventstore.NoStream, []eventstore.EventData{{Type: "a"}, {Type: "b"}, {Type: "c"}}, nil)
	add(t, s.shared, id, at, []eventstore.EventData{{Type: "c"}, {Type: "d"}}, nil)
	last := func(eventType string) (version uint64) {
		for e, err := range s.shared.Read(t.Context(), id, &eventstore.ReadOptions{Backward: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if eventType == "" || e.Type == eventType {
				return e.Version
			}
		}
		return 0
	}
	for eventType, want := range map[string]uint64{"": 5, "a": 1, "b": 2, "c": 4, "d": 5, "e": 0} {
		if got := last(eventType); got != want {
			t.Errorf("the last event of type %q is version %d, want %d", eventType, got, want)
		}
	}
}
