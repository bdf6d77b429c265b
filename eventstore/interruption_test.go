package eventstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

var interruptionItems = []item{
	{"34 a context that ends before the answer: stored", endedStored},
	{"34 a context that ends before the answer: lost", endedLost},
	{"34 a context that ends before the answer: late", endedLate},
	{"34 a context that ends before the answer: overtaken", endedOvertaken},
	{"34 a repeated append that learns nothing", repeatedBlindly},
}

// An interrupted is a client whose appends go through a proxy, which holds them
// or their answers back; what it reads comes past the proxy.
type interrupted struct {
	id     eventstore.StreamID
	nc     *nats.Conn
	proxy  *proxy
	store  *eventstore.Store
	direct *eventstore.Store
}

func interrupt(t *testing.T, s site) *interrupted {
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	nc := through(t, []*proxy{p})
	store := s.open(t, nc, s.shared.Name(), &eventstore.Options{Reads: testutil.Connect(t, s)})
	return &interrupted{id: stream(t), nc: nc, proxy: p, store: store, direct: s.client(t)}
}

// append appends while the proxy holds one direction, and gives up when
// something is the case.
func (c *interrupted) append(t *testing.T, expected eventstore.Expectation, held direction, giveUp func() bool) *eventstore.UnknownOutcomeError {
	t.Helper()
	c.proxy.hold(held)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	outcome := make(chan error)
	go func() {
		_, err := c.store.Append(ctx, c.id, expected, events("a", "b"), nil)
		outcome <- err
	}()
	eventually(t, "the append is under way", giveUp)
	cancel()
	err := <-outcome
	var unknown *eventstore.UnknownOutcomeError
	if !errors.As(err, &unknown) || !errors.Is(err, eventstore.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want an UnknownOutcomeError and context.Canceled", err)
	}
	if unknown.Stream != c.id || unknown.CommitID == "" {
		t.Errorf("the error says %+v", unknown)
	}
	return unknown
}

// again appends what may be stored once more, as the error says.
func (c *interrupted) again(t *testing.T, store *eventstore.Store, unknown *eventstore.UnknownOutcomeError) (eventstore.Revision, error) {
	return store.Append(t.Context(), c.id, unknown.Expected, events("a", "b"), named(unknown.CommitID))
}

// sent returns a condition: that another message went out.
func (c *interrupted) sent() func() bool {
	before := c.nc.Stats().OutMsgs
	return func() bool { return c.nc.Stats().OutMsgs > before }
}

func endedStored(t *testing.T, s site) {
	c := interrupt(t, s)
	for version, expected := range []eventstore.Expectation{eventstore.NoStream, eventstore.Any, eventstore.Exists, eventstore.Version(6), head(t, c.direct, c.id)} {
		before := head(t, c.direct, c.id)
		if _, ok := expected.(eventstore.Revision); ok {
			expected = before
		}
		unknown := c.append(t, expected, toClient, func() bool { return head(t, c.direct, c.id).Version > before.Version })
		if !same(unknown.Expected, before) {
			t.Errorf("the commit was guarded by %+v, and the error says %+v", before, unknown.Expected)
		}
		c.proxy.release()
		now := head(t, c.direct, c.id)
		for range 2 {
			at, err := c.again(t, c.store, unknown)
			if err != nil || !same(at, now) || !at.Replayed || at.Version != uint64(2*version+2) {
				t.Errorf("expecting %v: stored at %+v, and again at %+v, %v", expected, now, at, err)
			}
		}
	}
	wantTexts(t, c.direct, c.id, "a", "b", "a", "b", "a", "b", "a", "b", "a", "b")

	// By a deadline it is the same.
	at := head(t, c.direct, c.id)
	c.proxy.hold(toClient)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.store.Append(ctx, c.id, at, events("c"), nil)
	if !errors.Is(err, eventstore.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline ended the wait: %v", err)
	}
}

func endedLost(t *testing.T, s site) {
	c := interrupt(t, s)
	first := add(t, c.direct, c.id, eventstore.NoStream, events("first"), nil)
	unknown := c.append(t, first, toServer, c.sent())
	c.proxy.lose()
	at, err := c.again(t, c.direct, unknown)
	if err != nil || at.Replayed || at.Version != 3 || at.CommitID != unknown.CommitID {
		t.Errorf("what was lost is stored again at %+v, %v", at, err)
	}
	wantTexts(t, c.direct, c.id, "first", "a", "b")
}

// The message arrives after it was stored by a second attempt.
func endedLate(t *testing.T, s site) {
	c := interrupt(t, s)
	unknown := c.append(t, eventstore.Any, toServer, c.sent())
	at, err := c.again(t, c.direct, unknown)
	if err != nil || at.Replayed || at.Version != 2 {
		t.Errorf("the second attempt: %+v, %v", at, err)
	}
	c.proxy.release()
	if err := c.nc.FlushTimeout(patience); err != nil { // it has arrived
		t.Fatal(err)
	}
	if again, err := c.again(t, c.store, unknown); err != nil || !same(again, at) || !again.Replayed {
		t.Errorf("stored at %+v, and again at %+v, %v", at, again, err)
	}
	wantTexts(t, c.direct, c.id, "a", "b")
}

// The message arrives after another writer's.
func endedOvertaken(t *testing.T, s site) {
	c := interrupt(t, s)
	unknown := c.append(t, eventstore.NoStream, toServer, c.sent())
	add(t, c.direct, c.id, eventstore.NoStream, events("faster"), nil)
	c.proxy.release()
	for range 2 {
		_, err := c.again(t, c.store, unknown)
		wantConflict(t, err, c.id, unknown.Expected, 1)
	}
	wantTexts(t, c.direct, c.id, "faster")
}

// A repeated append meets its own commit, or another, and cannot read which.
// Then it must not say that nothing is stored.
func repeatedBlindly(t *testing.T, s site) {
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	store := s.open(t, testutil.Connect(t, s), s.shared.Name(), &eventstore.Options{Reads: through(t, []*proxy{p})})
	id := stream(t)
	base := add(t, store, id, eventstore.NoStream, events("first"), nil)
	at := add(t, store, id, base, events("a"), named("repeated"))
	p.hold(toClient)
	for _, expected := range []eventstore.Expectation{base, at} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := store.Append(ctx, id, expected, events("a"), named("repeated"))
		cancel()
		if !errors.Is(err, eventstore.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("repeated, expecting %s: %v", expected, err)
		}
	}
	p.release()
	wantTexts(t, store, id, "first", "a")
}
