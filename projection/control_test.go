package projection_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	strange := projection.On(func(context.Context, *bbolt.Bucket, foreignEvent, projection.Event) error { return nil })
	for _, test := range []struct {
		what, name string
		handlers   projection.Handlers[*bbolt.Bucket]
		opts       *projection.Options
		reason     string
	}{
		{"no name", "", balances(), nil, "projection name"},
		{"a name with a dot", "a.b", balances(), nil, "projection name"},
		{"a long name", strings.Repeat("a", 49), balances(), nil, "projection name"},
		{"no handlers", "p", nil, nil, "no handlers"},
		{"two handlers of one type", "p", balances(projection.On(addBalance)), nil, "two handlers of projection_test.deposited"},
		{"a kind twice", "p", append(balances(), balances()...), nil, "kind account has handlers twice"},
		{"a handler of another codec", "p", projection.From("account", codec, strange), nil, "another codec"},
		{"workers that would wait", "p", balances(), &projection.Options{Workers: 2}, "one transaction at a time"},
		{"too many workers", "p", balances(), &projection.Options{Workers: 1000}, "more than 256"},
	} {
		_, err := projection.New(test.name, store, file, test.handlers, test.opts)
		if !errors.Is(err, eventstore.ErrInvalid) || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

// foreignEvent is none of the codec's.
type foreignEvent struct{}

func TestRunsOnce(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "balances", store, file, balances(), nil)
	start(t, p)
	eventually(t, "it is live", func() bool { return p.Status().State == projection.Live })
	if err := p.Run(t.Context()); !errors.Is(err, projection.ErrRunning) {
		t.Errorf("run twice: %v", err)
	}
	other := newProjection(t, "balances", store, file, balances(), nil)
	if err := other.Run(t.Context()); !errors.Is(err, projection.ErrRunning) {
		t.Errorf("another one of the same name: %v", err)
	}
}

// What is away is tried for as long as it takes, and never taken for poison.
func TestTransient(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var calls atomic.Int64
	p := newProjection(t, "patient", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			switch n := calls.Add(1); {
			case n < 3:
				return &projection.Transient{Err: errPoison}
			case n < 6:
				return eventstore.ErrUnavailable
			}
			return addBalance(ctx, b, e, at)
		})), &projection.Options{Attempts: 1, Poison: projection.Park})
	start(t, p)
	at := deposit(t, store, "a", 1)
	reach(t, p, at.Position)
	if got := read(t, file, "patient")["a"]; got != 1 || calls.Load() != 6 || p.Status().Parked != 0 {
		t.Errorf("balance %d after %d calls, %+v", got, calls.Load(), p.Status())
	}
}

// Who waits in the process that retried sees what was retried.
func TestWaitAfterRetry(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	var mended atomic.Bool
	p := newProjection(t, "picky", store, file, picky(&mended), &projection.Options{Attempts: 1, Poison: projection.Park})
	start(t, p)
	bad := deposit(t, store, "bad", 13)
	reachParked(t, p, bad)
	mended.Store(true)
	if err := p.Retry(t.Context(), account("bad")); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context(), bad); err != nil {
		t.Error(err)
	}
	if got := read(t, file, "picky")["bad"]; got != 13 {
		t.Errorf("balance %d", got)
	}
	eventually(t, "nothing is parked", func() bool { return p.Status().Parked == 0 })
}

func TestOtherLog(t *testing.T) {
	t.Parallel()
	first, second, file := testutil.Store(t), testutil.Store(t), openFile(t)
	at := deposit(t, first, "a", 1)
	deposit(t, second, "a", 100)
	p := newProjection(t, "balances", first, file, balances(), nil)
	r := start(t, p)
	reach(t, p, at.Position)
	_ = r.end()
	other := newProjection(t, "balances", second, file, balances(), nil)
	var wrong *projection.OtherLogError
	if err := start(t, other).ended(); !errors.As(err, &wrong) || !errors.Is(err, projection.ErrOtherLog) || wrong.Made != first.Identity() || wrong.Open != second.Identity() {
		t.Errorf("another log: %v", err)
	}
	if _, err := other.Rebuild(t.Context(), nil); !errors.Is(err, projection.ErrOtherLog) {
		t.Errorf("a rebuild from another log: %v", err)
	}
	if got := read(t, file, "balances")["a"]; got != 1 {
		t.Errorf("balance %d", got)
	}
}

// logIn is a log in a folder, until it is closed.
type logIn struct {
	store *eventstore.Store
	close func()
}

func openLog(t *testing.T, dir string) logIn {
	t.Helper()
	server, err := embedded.Start(t.Context(), dir, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), nc, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return logIn{store, func() {
		nc.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}}
}

// A checkpoint that is ahead of the log, which was restored from an older copy, is
// refused, also when the log has grown again. A rebuild makes the read model of what
// there is.
func TestRestoredLog(t *testing.T) {
	t.Parallel()
	for _, grown := range []bool{false, true} {
		dir, file := t.TempDir(), openFile(t)
		data, copied := filepath.Join(dir, "data"), filepath.Join(dir, "copy")
		l := openLog(t, data)
		for range 5 {
			deposit(t, l.store, "a", 1)
		}
		l.close()
		if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, data)
		last := deposit(t, l.store, "a", 100)
		p := newProjection(t, "balances", l.store, file, balances(), nil)
		r := start(t, p)
		reach(t, p, last.Position)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		l.close()

		l = openLog(t, copied)
		if grown {
			for range 3 {
				deposit(t, l.store, "a", 1)
			}
		}
		p = newProjection(t, "balances", l.store, file, balances(), nil)
		if err := start(t, p).ended(); !errors.Is(err, eventstore.ErrCorrupt) {
			t.Errorf("grown again %t: %v", grown, err)
		}
		if _, err := p.Rebuild(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := read(t, file, "balances")["a"]; got > 8 {
			t.Errorf("grown again %t: the rebuilt read model has what is lost: %d", grown, got)
		}
		r = start(t, p)
		last = deposit(t, l.store, "a", 1)
		eventually(t, "it runs again", func() bool { return p.Status().State == projection.Live })
		reach(t, p, last.Position)
		if got, want := read(t, file, "balances"), folded(t, l.store); !maps.Equal(got, want) {
			t.Errorf("grown again %t: read model %v, log %v", grown, got, want)
		}
		_ = r.end()
		l.close()
	}
}

// What an effect appends says which event it is because of.
func TestEffectsAreCaused(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	p := newProjection(t, "copies", store, projection.NewEffects(file), projection.From("account", codec,
		projection.On(func(ctx context.Context, _ struct{}, e deposited, at projection.Event) error {
			_, err := store.Append(ctx, eventstore.StreamID{Kind: "copy", ID: at.Stream.ID}, eventstore.Any,
				[]eventstore.EventData{{Type: "copied"}}, &eventstore.AppendOptions{CommitID: "copy of " + at.ID()})
			return err
		})), nil)
	start(t, p)
	cause := deposit(t, store, "a", 1)
	reach(t, p, cause.Position)
	for e, err := range store.Read(t.Context(), eventstore.StreamID{Kind: "copy", ID: "a"}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if want := "account/a/" + cause.CommitID; e.Metadata[eventstore.CausationID] != want {
			t.Errorf("metadata: %v, not because of %s", e.Metadata, want)
		}
	}
}

// However often it runs, one consumer of it is on the server.
func TestOneConsumerStays(t *testing.T) {
	t.Parallel()
	server, file := testutil.Server(t), openFile(t)
	store := testutil.Open(t, server, nil)
	p := newProjection(t, "balances", store, file, balances(), nil)
	for range 10 {
		deposit(t, store, "a", 1)
		if err := p.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(testutil.Connect(t, server))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), store.Name())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	all := stream.ConsumerNames(t.Context())
	for name := range all.Name() {
		if strings.HasPrefix(name, "balances-") {
			names = append(names, name)
		}
	}
	if err := all.Err(); err != nil || len(names) != 1 {
		t.Errorf("consumers: %v, %v", names, err)
	}
}

// A handler that hangs shows in the status.
func TestStatusOfHungHandler(t *testing.T) {
	t.Parallel()
	store, file := testutil.Store(t), openFile(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(leave) })
	defer release()
	p := newProjection(t, "hung", store, file, projection.From("account", codec,
		projection.On(func(ctx context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
			if e.Amount == 13 {
				close(entered)
				<-leave
			}
			return addBalance(ctx, b, e, at)
		})), nil)
	start(t, p)
	reach(t, p, deposit(t, store, "a", 1).Position)
	at := deposit(t, store, "a", 13)
	<-entered
	eventually(t, "it is behind", func() bool { return p.Status().Behind > 0 })
	before := p.Status()
	eventually(t, "it is further behind", func() bool { return p.Status().Behind > before.Behind+50*time.Millisecond })
	if s := p.Status(); s.Position != at.Position-1 || s.Lag() != 1 {
		t.Errorf("status: %+v", s)
	}
	release()
	reach(t, p, at.Position)
	eventually(t, "it is not behind any more", func() bool { return p.Status().Behind == 0 })
}
