package projection_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

// The id of a command is that of the event, however often and in whichever generation
// the event is handled, and no two events of a log have the same.
func TestCommandID(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	type place struct {
		stream  eventstore.StreamID
		version uint64
	}
	var mu sync.Mutex
	ids := make(map[place]map[string]int)
	p := newProjection(t, "commands", store, file, projection.From("account", codec,
		projection.On(func(_ context.Context, _ *bbolt.Bucket, e deposited, at projection.Event) error {
			mu.Lock()
			defer mu.Unlock()
			one := place{at.Stream, at.Version}
			if ids[one] == nil {
				ids[one] = make(map[string]int)
			}
			if ids[one][at.CommandID("")]++; ids[one][at.CommandID("")] == 1 {
				return errPoison // it comes again
			}
			return nil
		})), nil)
	start(t, p)
	for _, id := range []string{"a", "b"} {
		at, err := store.Append(t.Context(), account(id), eventstore.NoStream,
			[]eventstore.EventData{encoded(t, deposited{1}), encoded(t, deposited{1})}, &eventstore.AppendOptions{CommitID: "the same"})
		if err != nil {
			t.Fatal(err)
		}
		reach(t, p, at.Position)
	}
	if _, err := p.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	all := make(map[string]place)
	for at, its := range ids {
		if len(its) != 1 {
			t.Errorf("%v has the ids %v", at, its)
		}
		for id, n := range its {
			if other, ok := all[id]; ok || n < 3 {
				t.Errorf("%v was handled %d times, and has the id of %v", at, n, other)
			}
			all[id] = at
		}
	}
	if len(all) != 4 {
		t.Errorf("of four events there are the ids %v", all)
	}
}

// It is part of what is stored, and does not change. Names with separators in them are
// not taken for others.
func TestCommandIDForm(t *testing.T) {
	t.Parallel()
	id := func(kind, id, commit string, version uint64, step string) string {
		return projection.Event{Event: eventstore.Event{
			Stream: eventstore.StreamID{Kind: kind, ID: id}, CommitID: commit, Version: version,
		}}.CommandID(step)
	}
	seen := map[string]string{}
	for what, one := range map[string]string{
		"plain":                     id("order", "42", "c", 1, ""),
		"a step":                    id("order", "42", "c", 1, "pay"),
		"another step":              id("order", "42", "c", 1, "pay/2"),
		"a step with a NUL":         id("order", "42", "c", 1, "\x00"),
		"another version":           id("order", "42", "c", 11, ""),
		"digits that move":          id("order", "42", "c", 1, "1"),
		"another stream":            id("order", "4", "2c", 1, ""),
		"another kind":              id("orde", "r42", "c", 1, ""),
		"a slash in the id":         id("order", "42/c", "1", 1, ""),
		"the slash in the commit":   id("order", "42", "c/1", 1, ""),
		"the slash in the step":     id("order", "42", "c", 1, "/1"),
		"as an event of the commit": id("order", "42", "c#1", 1, ""),
	} {
		if other, ok := seen[one]; ok {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[one] = what
	}
	want := map[string]string{"": "316d97a5-c33d-53b4-bf11-e4a9cb85b69d", "pay": "c31a2e7b-0943-5ebf-839a-491ea1b83641"}
	got := map[string]string{"": id("order", "42", "c", 1, ""), "pay": id("order", "42", "c", 1, "pay")}
	if !maps.Equal(got, want) {
		t.Errorf("ids of steps are %v; those that are stored are %v", got, want)
	}
}
