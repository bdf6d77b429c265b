package sqlmodel_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/postgres"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/sqlmodel"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// owner is what a process would have: a connection, a model, a projection that runs.
type owner struct {
	nc      *nats.Conn
	p       *projection.Projection[*sqlmodel.Tx]
	stop    func()
	mu      sync.Mutex
	handled int
	block   chan struct{} // while it is not nil handlers wait for it
	blocked chan struct{} // closed when one does
}

// own runs the projection as another process would.
func own(t *testing.T, server *embedded.Server, db *sql.DB) *owner {
	t.Helper()
	o := &owner{nc: testutil.Connect(t, server)}
	store, err := eventstore.Open(t.Context(), o.nc, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t, db, sums)
	o.p, err = projection.New("sums", store, m, projection.From("order", codec, projection.On(o.handle)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.p.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(o.stop)
	return o
}

func (o *owner) handle(ctx context.Context, tx *sqlmodel.Tx, e Sold, at projection.Event) error {
	o.mu.Lock()
	o.handled++
	block, blocked := o.block, o.blocked
	o.block, o.blocked = nil, nil
	o.mu.Unlock()
	err := addSold(ctx, tx, e, at)
	if block != nil {
		close(blocked)
		<-block
	}
	return err
}

// pause makes the next handler wait, as if the process was paused, until it is woken.
func (o *owner) pause() (paused <-chan struct{}, wake func()) {
	block, blocked := make(chan struct{}), make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.block, o.blocked = block, blocked
	return blocked, func() { close(block) }
}

func (o *owner) has() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.handled
}

// Of two owners one projects, the other stands by, and takes over when the connection of
// the first is gone.
func Test62TwoOwners(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		server := testutil.Server(t)
		store := testutil.Open(t, server, nil)
		first := own(t, server, db)
		last := sell(t, store, 14)
		reached(t, first.p, last)
		second := own(t, server, db)
		eventually(t, "the second stands by", func() bool { return second.p.Status().State == projection.Standby })
		last = sell(t, store, 14)
		reached(t, first.p, last)
		reached(t, second.p, last) // it waits for what the first does
		if first.has() != 28 || second.has() != 0 {
			t.Errorf("the first handled %d events, and the second %d", first.has(), second.has())
		}
		first.nc.Close()
		last = sell(t, store, 14)
		reached(t, second.p, last)
		wantSums(t, db, 42)
		if second.has() < 14 {
			t.Errorf("the second handled %d events", second.has())
		}
	})
}

// An owner that stops hands over; one that is paused in a transaction, and wakes up when
// another has taken over, changes nothing twice.
func Test62PausedOwner(t *testing.T) {
	t.Parallel()
	db := openPostgres(t, postgres.Start(t)) // SQLite would let the second wait for the first
	server := testutil.Server(t)
	store := testutil.Open(t, server, nil)
	first := own(t, server, db)
	reached(t, first.p, sell(t, store, 7))
	second := own(t, server, db)
	eventually(t, "the second stands by", func() bool { return second.p.Status().State == projection.Standby })
	paused, wake := first.pause()
	last := sell(t, store, 14)
	<-paused
	first.nc.Close() // a paused process does not answer
	eventually(t, "the second has taken over", func() bool { return second.p.Status().State != projection.Standby })
	wake()
	reached(t, second.p, last)
	wantSums(t, db, 21)
	third := own(t, server, db)
	eventually(t, "the third stands by", func() bool { return third.p.Status().State == projection.Standby })
	second.stop()
	last = sell(t, store, 7)
	reached(t, third.p, last)
	wantSums(t, db, 28)
}

func reached(t *testing.T, p *projection.Projection[*sqlmodel.Tx], at eventstore.Revision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Wait(ctx, at); err != nil {
		t.Fatalf("%v; %+v", err, p.Status())
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// Who only waits, in a process where the projection does not run, is told how far it is
// when the wait is over.
func TestWaitWithoutRunning(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, db *sql.DB) {
		store := testutil.Store(t)
		last := sell(t, store, 1)
		p, err := projection.New("sums", store, newModel(t, db, sums), projection.From("order", codec, projection.On(addSold)), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var behind *projection.BehindError
		if err := p.Wait(ctx, last); !errors.As(err, &behind) || behind.Wanted != last.Position || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it never ran: %v", err)
		}
	})
}
