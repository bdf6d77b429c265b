package projection_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

// witness notes what Around sees.
type witness struct {
	mu   sync.Mutex
	seen []string
}

type requestKey struct{}

func (w *witness) around(ctx context.Context, at projection.Event, next func(context.Context) error) error {
	err := next(context.WithValue(ctx, requestKey{}, "given by Around"))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf("%s %d generation %d replaying %t: %v", at.Stream.ID, at.Version, at.Generation, at.Replaying, err))
	return err
}

// take returns what was seen since the last time.
func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

func (w *witness) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := w.take(); !slices.Equal(got, want) {
		t.Errorf("%s: Around saw %q, want %q", what, got, want)
	}
}

// Around is there wherever handlers are called, and only then.
func TestAround(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var w witness
	var mended atomic.Bool
	forget := projection.Forget(func(_ context.Context, b *bbolt.Bucket, stream eventstore.StreamID) error {
		return b.Delete([]byte(stream.ID))
	})
	p := newProjection(t, "watched", store, file, projection.From("account", codec, forget,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if ctx.Value(requestKey{}) != "given by Around" {
				t.Error("the handler has another context than the one that Around gave it")
			}
			if e.Amount == 13 && !mended.Load() {
				return &projection.Permanent{Err: errPoison}
			}
			return addBalance(ctx, b, e, at)
		})), &projection.Options{Around: w.around, Poison: projection.Park})
	start(t, p)
	reach(t, p, deposit(t, store, "a", 1, 2).Position)
	reach(t, p, appended(t, store, account("a"), encoded(t, noted{"not handled"})).Position)
	w.want(t, "a commit", "a 1 generation 1 replaying false: <nil>", "a 2 generation 1 replaying false: <nil>")

	reachParked(t, p, deposit(t, store, "bad", 13))
	w.want(t, "poison", "bad 1 generation 1 replaying false: "+errPoison.Error())
	if err := p.Retry(t.Context(), account("bad")); !errors.Is(err, projection.ErrParked) {
		t.Fatal(err)
	}
	w.want(t, "a retry in vain", "bad 1 generation 1 replaying false: "+errPoison.Error())
	reachParked(t, p, deposit(t, store, "bad", 4))
	if err := p.Discard(t.Context(), account("bad")); err != nil {
		t.Fatal(err)
	}
	w.want(t, "what waits behind one that is discarded", "bad 2 generation 1 replaying false: <nil>")

	mended.Store(true)
	if err := p.RebuildStream(t.Context(), account("bad")); err != nil {
		t.Fatal(err)
	}
	w.want(t, "a stream anew", "bad 1 generation 1 replaying true: <nil>", "bad 2 generation 1 replaying true: <nil>")
	if _, err := p.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := w.take(); len(got) != 4 || !strings.HasPrefix(got[3], "bad 2 generation 2 replaying true") {
		t.Errorf("a rebuild: Around saw %q", got)
	}
	if got, want := read(t, file, "watched"), folded(t, store); !maps.Equal(got, want) {
		t.Errorf("read model %v, log %v", got, want)
	}
}

// What Around returns is the handler's result.
func TestAroundDecides(t *testing.T) {
	t.Parallel()
	refusal := &projection.Permanent{Err: errors.New("not today")}
	for _, test := range []struct {
		what   string
		around func(context.Context, projection.Event, func(context.Context) error) error
		calls  int64 // of the handler
		is     func(error) bool
	}{
		{"an error instead", func(context.Context, projection.Event, func(context.Context) error) error {
			return refusal
		}, 0, func(err error) bool { return errors.Is(err, refusal) }},
		{"an error afterwards", func(ctx context.Context, _ projection.Event, next func(context.Context) error) error {
			return errors.Join(next(ctx), refusal)
		}, 1, func(err error) bool { return errors.Is(err, refusal) }},
		{"nothing", func(context.Context, projection.Event, func(context.Context) error) error {
			return nil
		}, 0, func(err error) bool {
			return errors.Is(err, eventstore.ErrInvalid) && strings.Contains(err.Error(), "did not call next")
		}},
		{"a panic", func(context.Context, projection.Event, func(context.Context) error) error {
			panic("around")
		}, 0, panicked("around")},
		{"a panic of the handler", func(ctx context.Context, _ projection.Event, next func(context.Context) error) error {
			err := next(context.WithValue(ctx, requestKey{}, "panic"))
			if !panicked("handler")(err) {
				return refusal
			}
			return err
		}, 1, panicked("handler")},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			store, file := testutil.Store(t), openFile(t)
			var calls atomic.Int64
			p := newProjection(t, "refused", store, file, projection.From("account", codec,
				projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
					calls.Add(1)
					if ctx.Value(requestKey{}) == "panic" {
						panic("handler")
					}
					return addBalance(ctx, b, e, at)
				})), &projection.Options{Around: test.around, Attempts: 1})
			deposit(t, store, "a", 1)
			err := start(t, p).ended()
			if !errors.Is(err, projection.ErrStopped) || !test.is(err) {
				t.Errorf("it stopped with %v", err)
			}
			if calls.Load() != test.calls || len(read(t, file, "refused")) != 0 {
				t.Errorf("the handler was called %d times, and the read model is %v", calls.Load(), read(t, file, "refused"))
			}
		})
	}
}

func panicked(value any) func(error) bool {
	return func(err error) bool {
		var p *projection.PanicError
		return errors.As(err, &p) && p.Value == value
	}
}

// Around may pass over an error.
func TestAroundForgives(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var mended atomic.Bool
	p := newProjection(t, "forgiving", store, file, picky(&mended), &projection.Options{
		Around: func(ctx context.Context, _ projection.Event, next func(context.Context) error) error {
			_ = next(ctx)
			return nil
		}})
	start(t, p)
	reach(t, p, deposit(t, store, "a", 13).Position)
}

// With effects Around has the context in which commands say what they are because of.
func TestAroundCause(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var mu sync.Mutex
	var said []map[string]string
	note := func(ctx context.Context) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, eventstore.Metadata(ctx))
	}
	p := newProjection(t, "orders", store, projection.NewEffects(file), projection.From("account", codec,
		projection.On(func(ctx context.Context, _ struct{}, _ deposited, at projection.Event) error {
			note(ctx)
			return nil
		})), &projection.Options{Around: func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
		note(ctx)
		return next(eventstore.WithMetadata(ctx, map[string]string{eventstore.TraceParent: "of the span of " + at.Stream.ID}))
	}})
	start(t, p)
	at, err := store.Append(t.Context(), account("a"), eventstore.Any, []eventstore.EventData{encoded(t, deposited{1})}, &eventstore.AppendOptions{
		CommitID: "c1", Metadata: map[string]string{eventstore.TraceParent: "of the commit", eventstore.CorrelationID: "r1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	reach(t, p, at.Position)
	mu.Lock()
	defer mu.Unlock()
	want := []map[string]string{
		{eventstore.CausationID: "account/a/c1", eventstore.CorrelationID: "r1", eventstore.TraceParent: "of the commit"},
		{eventstore.CausationID: "account/a/c1", eventstore.CorrelationID: "r1", eventstore.TraceParent: "of the span of a"},
	}
	if !slices.EqualFunc(said, want, maps.Equal) {
		t.Errorf("metadata in Around and in the handler: %v", said)
	}
}
