package projection_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

// patience bounds what should never take long.
const patience = time.Minute

// The events of accounts, and how they are stored.
type event interface{ eventstore.Typed }

type (
	deposited struct {
		Amount int `json:"amount"`
	}
	noted struct{ Text string }
)

func (deposited) EventType() string { return "account.deposited" }
func (noted) EventType() string     { return "account.noted" }

var codec = eventstore.JSON[event](deposited{}, noted{})

func account(id any) eventstore.StreamID {
	return eventstore.StreamID{Kind: "account", ID: fmt.Sprint(id)}
}

// deposit appends a commit with these amounts to an account.
func deposit(t testing.TB, store *eventstore.Store, id any, amounts ...int) eventstore.Revision {
	t.Helper()
	data := make([]eventstore.EventData, len(amounts))
	for i, amount := range amounts {
		data[i] = encoded(t, deposited{amount})
	}
	return appended(t, store, account(id), data...)
}

func encoded(t testing.TB, e event) eventstore.EventData {
	t.Helper()
	data, err := codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func appended(t testing.TB, store *eventstore.Store, stream eventstore.StreamID, data ...eventstore.EventData) eventstore.Revision {
	t.Helper()
	at, err := store.Append(t.Context(), stream, eventstore.Any, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// openFile opens a file of read models in a folder of the test.
func openFile(t testing.TB) *projection.File {
	t.Helper()
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "models"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return file
}

// balances are handlers that add up what was deposited, by account.
func balances(extra ...projection.Handler[*bbolt.Bucket]) projection.Handlers[*bbolt.Bucket] {
	return projection.From("account", codec, append(extra, projection.On(addBalance))...)
}

func addBalance(_ context.Context, b *bbolt.Bucket, e deposited, at projection.Event) error {
	return add(b, at.Stream.ID, e.Amount)
}

func add(b *bbolt.Bucket, key string, amount int) error {
	now := int64(0)
	if v := b.Get([]byte(key)); v != nil {
		now = int64(binary.BigEndian.Uint64(v))
	}
	return b.Put([]byte(key), binary.BigEndian.AppendUint64(nil, uint64(now+int64(amount))))
}

// read returns what a read model of balances holds.
func read(t testing.TB, file *projection.File, name string) map[string]int {
	t.Helper()
	all := make(map[string]int)
	err := file.View(name, func(b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			all[string(k)] = int(binary.BigEndian.Uint64(v))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// folded returns what the log comes to.
func folded(t testing.TB, store *eventstore.Store) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for e, err := range store.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := codec.Decode(e)
		if err != nil {
			continue
		}
		if d, ok := decoded.(deposited); ok {
			all[e.Stream.ID] += d.Amount
		}
	}
	return all
}

// runner is what all projections have.
type runner interface {
	Run(ctx context.Context) error
	Wait(ctx context.Context, at eventstore.Revision) error
	Status() projection.Status
}

// running is a projection that runs.
type running struct {
	t    testing.TB
	p    runner
	stop context.CancelFunc
	done chan error
	once sync.Once
	err  error
}

// start runs a projection until the test ends, or it is stopped.
func start(t testing.TB, p runner) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, p: p, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- p.Run(ctx) }()
	t.Cleanup(func() { _ = r.end() })
	return r
}

// end stops the projection, and returns what Run returned.
func (r *running) end() error {
	r.stop()
	return r.ended()
}

// ended waits until the projection stops by itself.
func (r *running) ended() error {
	r.once.Do(func() {
		select {
		case r.err = <-r.done:
		case <-time.After(patience):
			r.err = errors.New("it does not end")
			r.t.Errorf("the projection does not end: %+v", r.p.Status())
		}
	})
	return r.err
}

// reach waits until the projection has handled a position.
func reach(t testing.TB, p runner, position uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx, eventstore.Revision{Position: position}); err != nil {
		t.Fatalf("wait for position %d: %v; %+v", position, err, p.Status())
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// newProjection returns a projection, or fails the test.
func newProjection[T any](t testing.TB, name string, store *eventstore.Store, model projection.Model[T], handlers projection.Handlers[T], opts *projection.Options) *projection.Projection[T] {
	t.Helper()
	p, err := projection.New(name, store, model, handlers, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// end returns the log's last position.
func end(t testing.TB, store *eventstore.Store) uint64 {
	t.Helper()
	last, err := store.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return last
}

var _ = testutil.Store
