package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var hostileItems = []item{
	{"a stray answer is not taken for the server's", strayAnswer},
	{"a foreign message with a status is content", statusOfContent},
	{"49 nothing can be removed from a log", neverRemoved},
	{"a log whose last message is lost is damaged", lostEnd},
	{"a position beyond the log's end is refused", beyondEnd},
	{"a revision of a lost history is refused", lostHistory},
	{"a log that ends too early for now", behindForNow},
	{"large commits are read without losing the connection", largeCommits},
}

// Somebody subscribes to the streams' subjects and answers what was meant for
// the server, early, late and more than once.
func strayAnswer(t *testing.T, s site) {
	store := s.log(t, "stray", nil)
	nc := testutil.Connect(t, s)
	var last atomic.Pointer[nats.Msg]
	for _, answer := range []string{"pong", `{"stream":"stray","seq":99}`} {
		sub, err := nc.Subscribe("stray.order.*", func(m *nats.Msg) {
			if before := last.Swap(m); before != nil {
				_ = nc.Publish(before.Reply, []byte(answer)) // late
			}
			_ = nc.Publish(m.Reply, []byte("pong"))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		id := stream(t)
		id.ID += answer[:1]
		var at eventstore.Revision
		for i := range 50 {
			next, err := store.Append(t.Context(), id, at, events(fmt.Sprint(i)), nil)
			if err != nil || next.Version != uint64(i)+1 {
				t.Fatalf("append %d: %+v, %v", i, next, err)
			}
			if _, err := store.Append(t.Context(), id, at, events("x"), nil); !errors.Is(err, eventstore.ErrConflict) {
				t.Fatalf("append %d again: %v", i, err)
			}
			at = next
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
		if all := history(t, store, id); len(all) != 50 || !same(all[49].Revision(), at) {
			t.Errorf("%d events, the last at %+v, want %+v", len(all), all[len(all)-1].Revision(), at)
		}
	}
}

func statusOfContent(t *testing.T, s site) {
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		name := "status-" + status
		nc := testutil.Connect(t, s)
		store := s.open(t, nc, name, nil)
		id := eventstore.StreamID{Kind: "order", ID: "42"}
		at := add(t, store, id, eventstore.NoStream, events("a"), nil)
		foreign := &nats.Msg{Subject: name + ".order.42", Header: nats.Header{"Status": {status}, "Nats-Sequence": {"1"}}}
		if _, err := s.jetStream(t).PublishMsg(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
		if at, err := store.Head(t.Context(), id); !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("status %s: the head is %+v, %v", status, at, err)
		}
		if _, err := store.Append(t.Context(), id, at, events("b"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("status %s: appended: %v", status, err)
		}
		wantDamageAt(t, store, 2)
	}
}

// wantDamageAt checks that Verify finds damage at one position.
func wantDamageAt(t *testing.T, store *eventstore.Store, position uint64) {
	t.Helper()
	report, err := store.Verify(t.Context(), nil)
	if err != nil || len(report.Damage) != 1 || report.Damage[0].Position != position {
		t.Errorf("verify: %+v, %v; want damage at position %d", report, err, position)
	}
}

// damageable makes a log from which messages can be deleted, and returns a
// function that deletes one and opens the log.
func (s site) damageable(t *testing.T, name string) (jetstream.Stream, func(position uint64) *eventstore.Store) {
	t.Helper()
	js := s.jetStream(t)
	template := s.open(t, js.Conn(), name+"-template", nil)
	info, err := js.Stream(t.Context(), template.Name())
	if err != nil {
		t.Fatal(err)
	}
	cfg := info.CachedInfo().Config
	cfg.Name, cfg.Subjects, cfg.DenyDelete = name, []string{name + ".*.*"}, false
	stream, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return stream, func(position uint64) *eventstore.Store {
		t.Helper()
		if err := stream.DeleteMsg(t.Context(), position); err != nil {
			t.Fatal(err)
		}
		cfg.DenyDelete = true
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return s.open(t, js.Conn(), name, &eventstore.Options{AllowUnsafe: []string{"damage"}})
	}
}

// copyCommits copies the messages of one log into another of the same length.
func copyCommits(t *testing.T, js jetstream.JetStream, from string, to string, n int) {
	t.Helper()
	source, err := js.Stream(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	for seq := 1; seq <= n; seq++ {
		m, err := source.GetMsg(t.Context(), uint64(seq))
		if err != nil {
			t.Fatal(err)
		}
		subj := to + m.Subject[len(from):]
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subj, Header: m.Header, Data: m.Data}); err != nil {
			t.Fatal(err)
		}
	}
}

func neverRemoved(t *testing.T, s site) {
	log := s.log(t, "never-removed", nil)
	var at eventstore.Revision
	for i := range 3 {
		at = add(t, log, stream(t), at, events(fmt.Sprint(i)), nil)
	}
	raw, err := s.jetStream(t).Stream(t.Context(), log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"a message can be deleted": func() error { return raw.DeleteMsg(t.Context(), 2) },
		"a message can be erased":  func() error { return raw.SecureDeleteMsg(t.Context(), 3) },
		"the log can be purged":    func() error { return raw.Purge(t.Context()) },
		"a stream can be purged": func() error {
			return raw.Purge(t.Context(), jetstream.WithPurgeSubject(log.Name()+".>"))
		},
	} {
		if err := do(); err == nil {
			t.Error(what)
		}
	}
	wantTexts(t, log, stream(t), "0", "1", "2")
}

// The server says that the log ends at position 3 and has nothing there.
func lostEnd(t *testing.T, s site) {
	const n = 3
	source := s.log(t, "lost-end-source", nil)
	var at eventstore.Revision
	for i := range n {
		at = add(t, source, eventstore.StreamID{Kind: "order", ID: "42"}, at, events(fmt.Sprint(i)), nil)
	}
	_, damage := s.damageable(t, "lost-end")
	copyCommits(t, s.jetStream(t), source.Name(), "lost-end", n)
	store := damage(n)
	wantDamageAt(t, store, n)
	all, err := collect(store.Log(t.Context(), 0, nil))
	if !errors.Is(err, eventstore.ErrCorrupt) || len(all) != n-1 {
		t.Errorf("the log has %d events, %v", len(all), err)
	}
}

func beyondEnd(t *testing.T, s site) {
	if s.replicas > 1 {
		t.Skip("on replicas it takes as long as a leader may answer from the past")
	}
	store := s.log(t, "beyond-end", nil)
	add(t, store, stream(t), eventstore.NoStream, events("a"), nil)
	for _, after := range []uint64{2, 1000, ^uint64(0)} {
		for name, read := range map[string]func(context.Context, uint64) (all []eventstore.Event, err error){
			"log": func(ctx context.Context, after uint64) ([]eventstore.Event, error) {
				return collect(store.Log(ctx, after, nil))
			},
			"follow": func(ctx context.Context, after uint64) ([]eventstore.Event, error) {
				return collect(store.Follow(ctx, after, nil))
			},
			"streams": func(ctx context.Context, after uint64) (all []eventstore.Event, err error) {
				for h, err := range store.Streams(ctx, "", after) {
					if err != nil {
						return all, err
					}
					all = append(all, eventstore.Event{Stream: h.Stream})
				}
				return all, nil
			},
		} {
			if all, err := read(t.Context(), after); !errors.Is(err, eventstore.ErrCorrupt) || len(all) > 0 {
				t.Errorf("%s after %d: %d events, %v", name, after, len(all), err)
			}
		}
	}
}

// A process holds a revision, and the log is one that never came so far but
// goes on: the stream's end is beyond the revision's position, not its version.
func lostHistory(t *testing.T, s site) {
	nc := testutil.Connect(t, s)
	id, other := eventstore.StreamID{Kind: "order", ID: "42"}, eventstore.StreamID{Kind: "order", ID: "other"}
	store := s.open(t, nc, "lost-history", nil)
	var held eventstore.Revision
	for i := range 10 {
		held = add(t, store, id, held, events(fmt.Sprint(i)), nil)
	}
	s.startOver(t, store)
	another := s.open(t, testutil.Connect(t, s), store.Name(), nil)
	at := add(t, another, id, eventstore.NoStream, events("0"), nil)
	for range 12 {
		add(t, another, other, eventstore.Any, events("x"), nil)
	}
	add(t, another, id, at, events("1"), nil)
	if all, err := collect(store.Read(t.Context(), id, &eventstore.ReadOptions{After: held})); !errors.Is(err, eventstore.ErrCorrupt) || len(all) > 0 {
		t.Errorf("a read after %v: %d events, %v", held, len(all), err)
	}
	if at, err := store.Append(t.Context(), id, held, events("x"), nil); !errors.Is(err, eventstore.ErrCorrupt) {
		t.Errorf("an append after %v: %+v, %v", held, at, err)
	}
}

// startOver makes the log an empty one with the same identity.
func (s site) startOver(t *testing.T, store *eventstore.Store) {
	t.Helper()
	js := s.jetStream(t)
	old, err := js.Stream(t.Context(), store.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), store.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), old.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
}

// On replicas a stream that ends too early may be what a leader says that was
// cut off. Who has no time to find out is not told that the log is damaged.
func behindForNow(t *testing.T, s site) {
	store := s.open(t, testutil.Connect(t, s), "behind", nil)
	id := stream(t)
	held := add(t, store, id, eventstore.NoStream, events("a"), nil)
	s.startOver(t, store)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, readErr := collect(store.Read(ctx, id, &eventstore.ReadOptions{After: held}))
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, appendErr := store.Append(ctx, id, held, events("b"), nil)
	for _, err := range []error{readErr, appendErr} {
		if s.replicas == 1 && !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("one node has lost what it acknowledged: %v", err)
		}
		if s.replicas > 1 && (errors.Is(err, eventstore.ErrCorrupt) || !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("the leader may be one that was cut off: %v", err)
		}
	}
}

// The server closes the connection of a client that is too far behind.
func largeCommits(t *testing.T, s site) {
	commits := 200 // more than the server keeps for a client that does not read
	if s.replicas > 1 {
		commits = 10 // reading is the same there, and writing three times the work
	}
	nc, err := nats.Connect(s.urls[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	store := s.open(t, nc, "large", nil)
	id := stream(t)
	data := bytes.Repeat([]byte("x"), 900<<10)
	var at eventstore.Revision
	for range commits {
		at = add(t, store, id, at, []eventstore.EventData{{Type: "large", Data: data}}, nil)
	}
	if all := history(t, store, id); len(all) != commits {
		t.Errorf("%d events, want %d", len(all), commits)
	}
	if n := nc.Stats().Reconnects; n > 0 {
		t.Errorf("the connection was lost %d times", n)
	}
}
