package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

var readItems = []item{
	{"36 an unknown stream has no events", readUnknown},
	{"37 a read returns all events in the order of versions", readAll},
	{"38 from a version, inclusive", readFrom},
	{"39 to a version, inclusive", readTo},
	{"41 a limited read", readLimited},
	{"42 beyond the end there is nothing", readBeyond},
	{"45 streams with a common prefix do not mix", readPrefixes},
	{"46 a read is stable while others append", readWhileAppending},
	{"56 a read sees what was acknowledged before", readYourWrites},
	{"a long stream, from and to any version", readLong},
}

func readUnknown(t *testing.T, s suite) {
	id := s.stream()
	for _, opts := range []*eventstore.ReadOptions{nil, {}, {From: 1}, {From: 5, To: 7}, {To: 3}} {
		if all := read(t, s.shared, id, opts); len(all) > 0 {
			t.Errorf("reading with %+v: %+v", opts, all)
		}
	}
	if at := head(t, s.shared, id); at.Version != 0 || at.Position != 0 || at.CommitID != "" {
		t.Errorf("its head is %+v", at)
	}
}

// alphabet appends the events a to j in commits of 1, 2, 3 and 4 events.
func alphabet(t *testing.T, s suite) (eventstore.StreamID, []string) {
	t.Helper()
	all := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	id := s.stream()
	var at eventstore.Revision
	for _, commit := range [][]string{all[:1], all[1:3], all[3:6], all[6:]} {
		at = add(t, s.shared, id, at, events(commit...), nil)
	}
	return id, all
}

func readAll(t *testing.T, s suite) {
	id, all := alphabet(t, s)
	wantTexts(t, s.shared, id, all...)
	sequence := s.shared.Read(t.Context(), id, nil)
	for range 2 { // it may be iterated again
		var got []string
		for e, err := range sequence {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(e.Data))
		}
		if !slices.Equal(got, all) {
			t.Errorf("got %q", got)
		}
	}
	if at, end := head(t, s.shared, id), read(t, s.shared, id, nil)[9]; !same(at, end.Revision()) {
		t.Errorf("the head is %+v and the last event %+v", at, end)
	}
}

func wantRange(t *testing.T, s suite, id eventstore.StreamID, opts eventstore.ReadOptions, want []string) {
	t.Helper()
	if got := texts(read(t, s.shared, id, &opts)); !slices.Equal(got, want) {
		t.Errorf("from %d to %d there is %q, want %q", opts.From, opts.To, got, want)
	}
}

func readFrom(t *testing.T, s suite) {
	id, all := alphabet(t, s)
	wantRange(t, s, id, eventstore.ReadOptions{From: 0}, all)
	for from := 1; from <= len(all); from++ {
		wantRange(t, s, id, eventstore.ReadOptions{From: uint64(from)}, all[from-1:])
	}
}

func readTo(t *testing.T, s suite) {
	id, all := alphabet(t, s)
	wantRange(t, s, id, eventstore.ReadOptions{To: 0}, all)
	for to := 1; to <= len(all); to++ {
		wantRange(t, s, id, eventstore.ReadOptions{To: uint64(to)}, all[:to])
		for from := 1; from <= to; from++ {
			wantRange(t, s, id, eventstore.ReadOptions{From: uint64(from), To: uint64(to)}, all[from-1:to])
		}
	}
}

// A limit is the caller's, who leaves the loop.
func readLimited(t *testing.T, s suite) {
	id, all := alphabet(t, s)
	for limit := 1; limit <= len(all); limit++ {
		var got []string
		for e, err := range s.shared.Read(t.Context(), id, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, string(e.Data)); len(got) == limit {
				break
			}
		}
		if !slices.Equal(got, all[:limit]) {
			t.Errorf("the first %d events are %q", limit, got)
		}
	}
}

func readBeyond(t *testing.T, s suite) {
	id, all := alphabet(t, s)
	end := head(t, s.shared, id)
	for _, opts := range []eventstore.ReadOptions{
		{From: 11}, {From: 12}, {From: 11, To: 20}, {From: 1 << 63}, {From: ^uint64(0)}, {From: ^uint64(0), To: ^uint64(0)},
		{From: 5, To: 4}, {After: end}, {After: end, To: 3}, {After: end, From: 1},
	} {
		wantRange(t, s, id, opts, nil)
	}
	wantRange(t, s, id, eventstore.ReadOptions{From: 9, To: 100}, all[8:])
	wantRange(t, s, id, eventstore.ReadOptions{To: ^uint64(0)}, all)
}

func readPrefixes(t *testing.T, s suite) {
	ids := []string{"order-1", "order-11", "order-1.1", "order-1.", "order-", "order-*", "order->", "order-1*", "a.b", "a.*", "a.>", "a", "*", ">", "order-1%2E1", "Order-1"}
	for _, text := range ids {
		id := eventstore.StreamID{Kind: "prefix", ID: text}
		for i := range 3 {
			if at := add(t, s.shared, id, eventstore.Version(i), events(text), nil); at.Version != uint64(i)+1 {
				t.Errorf("event %d of %q is at %+v", i, text, at)
			}
		}
	}
	for _, text := range ids {
		wantTexts(t, s.shared, eventstore.StreamID{Kind: "prefix", ID: text}, text, text, text)
	}
	wantTexts(t, s.shared, eventstore.StreamID{Kind: "prefix-1", ID: "a"})
}

func readWhileAppending(t *testing.T, s suite) {
	const writers, each = 3, 100
	id := s.stream()
	var writing sync.WaitGroup
	for w := range writers {
		store := s.client(t)
		writing.Go(func() {
			for i := range each {
				if _, err := store.Append(t.Context(), id, eventstore.Any, events(fmt.Sprint(w), fmt.Sprint(i)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer writing.Wait()
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	reader := s.client(t)
	var last []eventstore.Event
	for reads, running := 0, true; running || reads < 2; reads++ {
		select {
		case <-done:
			running = false
		default:
		}
		known := head(t, s.shared, id)
		now := history(t, reader, id)
		if uint64(len(now)) < known.Version || len(now) < len(last) {
			t.Fatalf("read %d events, after %d and a head at %d", len(now), len(last), known.Version)
		}
		for i, e := range last {
			if now[i].CommitID != e.CommitID || now[i].Position != e.Position {
				t.Fatalf("version %d was %s and is %s", i+1, e.CommitID, now[i].CommitID)
			}
		}
		last = now
	}
	if len(last) != writers*each*2 {
		t.Errorf("read %d events at the end", len(last))
	}
}

func readYourWrites(t *testing.T, s suite) {
	id := s.stream()
	other := s.client(t)
	var at eventstore.Revision
	for i := range 100 {
		at = add(t, s.shared, id, at, events(fmt.Sprint(i)), nil)
		for _, store := range []Store{s.shared, other} {
			if got := head(t, store, id); !same(got, at) {
				t.Fatalf("appended at %+v, and the head is %+v", at, got)
			}
			if got := read(t, store, id, &eventstore.ReadOptions{From: at.Version}); len(got) != 1 {
				t.Fatalf("appended at %+v, and read %d events from there", at, len(got))
			}
		}
	}
}

func readLong(t *testing.T, s suite) {
	const commits = 3100
	id := s.stream()
	random := seeded(t)
	var at eventstore.Revision
	var want []string
	for range commits {
		first := len(want)
		for range 1 + random.IntN(3) {
			want = append(want, fmt.Sprint(len(want)+1))
		}
		at = add(t, s.shared, id, at, events(want[first:]...), nil)
	}
	wantTexts(t, s.shared, id, want...)
	all := read(t, s.shared, id, nil)
	n := len(all)
	check := func(opts eventstore.ReadOptions, first, last int) {
		t.Helper()
		got := read(t, s.shared, id, &opts)
		if !slices.EqualFunc(got, all[first-1:max(last, first-1)], func(a, b eventstore.Event) bool {
			return a.Version == b.Version && a.Position == b.Position && a.CommitID == b.CommitID && string(a.Data) == string(b.Data)
		}) {
			t.Errorf("from %d after %d to %d: read %d events, want %d to %d", opts.From, opts.After.Version, opts.To, len(got), first, last)
		}
	}
	for range 10 {
		a := 1 + random.IntN(n)
		b := a + random.IntN(n-a+1)
		near := min(a+random.IntN(100), n)
		check(eventstore.ReadOptions{From: uint64(a), To: uint64(b)}, a, b)
		check(eventstore.ReadOptions{From: uint64(a), To: uint64(near)}, a, near)
		check(eventstore.ReadOptions{From: uint64(n - near + a)}, n-near+a, n)
		check(eventstore.ReadOptions{After: all[a-1].Revision(), To: uint64(near)}, commitEnd(all, a)+1, near)
	}
	check(eventstore.ReadOptions{After: all[n/2].Revision()}, commitEnd(all, n/2+1)+1, n)
	check(eventstore.ReadOptions{From: uint64(n)}, n, n)
	check(eventstore.ReadOptions{To: 1}, 1, 1)
}

// commitEnd returns the last version of the commit that holds a version.
func commitEnd(all []eventstore.Event, version int) int {
	for version < len(all) && all[version].Position == all[version-1].Position {
		version++
	}
	return version
}
