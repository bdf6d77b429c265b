package eventstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
)

var hookItems = []item{
	{"each append is told of, whatever became of it", toldOfAppends},
	{"how often a commit was sent is told", toldOfAttempts},
	{"an append without an answer is told of", toldOfNoAnswer},
}

type requestKey struct{}

// A witness is told of appends.
type witness struct {
	mu  sync.Mutex
	all []eventstore.Appended
	of  []any // what the contexts carried
}

func (w *witness) tell(ctx context.Context, a eventstore.Appended) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.of = append(w.all, a), append(w.of, ctx.Value(requestKey{}))
}

// last returns what was told last, which must be the only thing since.
func (w *witness) last(t *testing.T, what string) eventstore.Appended {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) != 1 || w.of[0] != what {
		t.Fatalf("%s: told of %+v, with contexts of %v", what, w.all, w.of)
	}
	a := w.all[0]
	w.all, w.of = nil, nil
	return a
}

func toldOfAppends(t *testing.T, s site) {
	var w witness
	store := s.open(t, testutil.Connect(t, s), s.shared.Name(), &eventstore.Options{OnAppend: w.tell})
	id := stream(t)
	first := add(t, s.client(t), id, eventstore.NoStream, events("first"), nil)
	var after eventstore.Revision
	for _, c := range []struct {
		what     string
		id       eventstore.StreamID
		expected eventstore.Expectation
		data     []eventstore.EventData
		opts     *eventstore.AppendOptions
		attempts int
		err      error
		replayed bool
	}{
		{"stored", id, first, events("a", "b"), named("second"), 1, nil, false},
		{"stored after what is there", id, eventstore.Any, events("c"), nil, 1, nil, false},
		{"conflict", id, first, events("x"), nil, 1, eventstore.ErrConflict, false},
		{"conflict of a version", id, eventstore.Version(1), events("x"), nil, 0, eventstore.ErrConflict, false},
		{"repeated", id, first, events("a", "b"), named("second"), 1, nil, true},
		{"repeated without a guard", id, eventstore.Any, events("a", "b"), named("second"), 0, nil, true},
		{"id used again", id, eventstore.Any, events("x"), named("second"), 0, eventstore.ErrCommitIDReused, false},
		{"no events", id, eventstore.Any, nil, nil, 0, eventstore.ErrInvalid, false},
		{"no name", eventstore.StreamID{}, eventstore.Any, events("x"), nil, 0, eventstore.ErrInvalid, false},
		{"no expectation", id, nil, events("x"), nil, 0, eventstore.ErrInvalid, false},
	} {
		before := time.Now()
		at, err := store.Append(context.WithValue(t.Context(), requestKey{}, c.what), c.id, c.expected, c.data, c.opts)
		took := time.Since(before)
		if !errors.Is(err, c.err) || at.Replayed != c.replayed {
			t.Errorf("%s: %+v, %v", c.what, at, err)
		}
		a := w.last(t, c.what)
		if a.Stream != c.id || a.Events != len(c.data) || a.Attempts != c.attempts || !same(a.Revision, at) || a.Revision.Replayed != at.Replayed || a.Err != err {
			t.Errorf("%s: told of %+v, returned %+v, %v", c.what, a, at, err)
		}
		if a.Took <= 0 || a.Took > took {
			t.Errorf("%s: told that it took %v, of %v", c.what, a.Took, took)
		}
		if err == nil && !at.Replayed {
			after = a.Revision
		}
	}
	// What is told is as good as what is returned.
	if at := add(t, store, id, after, events("d"), nil); at.Version != 5 {
		t.Errorf("appended after what was told: %+v", at)
	}
}

func toldOfAttempts(t *testing.T, s site) {
	var w witness
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	nc := through(t, []*proxy{p})
	store := s.open(t, nc, s.shared.Name(), &eventstore.Options{
		OnAppend: w.tell, AckWait: 100 * time.Millisecond, Reads: testutil.Connect(t, s),
	})
	id := stream(t)
	p.hold(toServer)
	before := nc.Stats().OutMsgs
	var appending sync.WaitGroup
	appending.Go(func() {
		at, err := store.Append(context.WithValue(t.Context(), requestKey{}, "lost"), id, eventstore.NoStream, events("a"), nil)
		if err != nil || at.Version != 1 {
			t.Errorf("%+v, %v", at, err)
		}
	})
	eventually(t, "the commit was sent three times", func() bool { return nc.Stats().OutMsgs >= before+3 })
	p.lose()
	appending.Wait()
	if a := w.last(t, "lost"); a.Attempts < 3 || a.Err != nil {
		t.Errorf("told of %+v", a)
	}
	wantTexts(t, store, id, "a")
}

func toldOfNoAnswer(t *testing.T, s site) {
	var w witness
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	store := s.open(t, through(t, []*proxy{p}), s.shared.Name(), &eventstore.Options{OnAppend: w.tell, Reads: testutil.Connect(t, s)})
	direct, id := s.client(t), stream(t)
	p.hold(toClient)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), requestKey{}, "stored"))
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := store.Append(ctx, id, eventstore.NoStream, events("a"), nil)
		ended <- err
	}()
	eventually(t, "it is stored", func() bool { return head(t, direct, id).Version == 1 })
	cancel()
	err := <-ended
	p.release()
	if a := w.last(t, "stored"); !errors.Is(err, eventstore.ErrUnknownOutcome) || a.Err != err || a.Attempts != 1 || a.Revision.Version != 0 {
		t.Errorf("told of %+v, returned %v", a, err)
	}
}
