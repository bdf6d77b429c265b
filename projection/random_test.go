package projection_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
)

// Histories of everything that can happen, at random: failures, panics, slow and poisoned
// handlers, restarts, other numbers of workers, holders that are paused while others take
// over, rebuilds, retries and discards. No transaction breaks the order of a stream,
// handles an event twice, or lets a checkpoint pass one that is not handled.
func Test64RandomHistories(t *testing.T) {
	t.Parallel()
	steps := 400
	if soaking {
		steps = 10_000
	}
	for _, shared := range []bool{false, true} {
		for _, poison := range []projection.Poison{projection.Park, projection.Stop} {
			t.Run(fmt.Sprintf("shared=%t/poison=%d", shared, poison), func(t *testing.T) {
				t.Parallel()
				h := newHistory(t, shared, poison)
				for range steps {
					h.step()
				}
				h.settle()
			})
		}
	}
}

// history is a log, a vault, and who projects.
type history struct {
	t       *testing.T
	rng     *rand.Rand
	store   *eventstore.Store
	vault   *vault
	poison  projection.Poison
	last    eventstore.Revision
	holders []*holder
	counts  map[string]int

	mu     sync.Mutex
	chance *rand.Rand
	calm   bool          // handlers do not fail any more
	paused chan struct{} // a handler waits for it; nil: none does
}

// holder is what a process would be.
type holder struct {
	p    *projection.Projection[*vaultTx]
	stop context.CancelFunc
	done chan error
}

func newHistory(t *testing.T, shared bool, poison projection.Poison) *history {
	t.Helper()
	rng := seeded(t)
	return &history{
		t: t, rng: rng, chance: rand.New(rand.NewPCG(rng.Uint64(), 0)), poison: poison,
		store: testutil.Store(t), vault: newVault(shared), counts: map[string]int{},
	}
}

var errAtRandom = errors.New("at random")

func (h *history) handle(_ context.Context, tx *vaultTx, e deposited, at projection.Event) error {
	tx.handle(at)
	h.mu.Lock()
	fate, calm, paused := h.chance.IntN(400), h.calm, h.paused
	if fate == 6 && paused == nil && !calm {
		paused = make(chan struct{})
		h.paused = paused
	} else {
		paused = nil
	}
	h.mu.Unlock()
	switch {
	case calm:
		return nil
	case e.Amount == 13:
		return &projection.Permanent{Err: errPoison}
	case fate < 3:
		return errAtRandom
	case fate < 5:
		panic(errAtRandom)
	case fate == 5: // slow
		time.Sleep(time.Millisecond)
	case paused != nil:
		<-paused
	}
	return nil
}

// wake lets a paused handler go on.
func (h *history) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.paused != nil {
		close(h.paused)
		h.paused = nil
	}
}

// begin starts a holder.
func (h *history) begin(workers int) {
	p, err := projection.New("random", h.store, h.vault, projection.From("account", codec, projection.On(h.handle)),
		&projection.Options{Workers: workers, Batch: 1 + h.rng.IntN(20), Poison: h.poison, Attempts: 50, Drain: 50 * time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	one := &holder{p, stop, make(chan error, 1)}
	go func() { one.done <- p.Run(ctx) }()
	h.holders = append(h.holders, one)
}

// end stops a holder, or looks why it stopped.
func (h *history) end(i int) {
	one := h.holders[i]
	h.holders = append(h.holders[:i:i], h.holders[i+1:]...)
	one.stop()
	if err := h.wait(one); err != nil && (h.poison != projection.Stop || !errors.Is(err, projection.ErrStopped)) {
		h.t.Errorf("a holder stopped: %v", err)
	}
}

// wait returns what a holder ended with.
func (h *history) wait(one *holder) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		select {
		case err := <-one.done:
			return err
		case <-tick.C:
			h.wake() // it may be the one that is paused, again
		case <-end:
			h.t.Fatalf("a holder does not end: %+v", one.p.Status())
		}
	}
}

// await does something whose handlers may be those that are paused.
func (h *history) await(p *projection.Projection[*vaultTx], do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return h.wait(&holder{p: p, done: done})
}

// step does something at random.
func (h *history) step() {
	most := 1
	if h.vault.shared {
		most = 3
	}
	switch n := h.rng.IntN(200); {
	case n < 160:
		h.append()
	case n < 166 && len(h.holders) < most:
		h.count("begun")
		h.begin(1 + h.rng.IntN(16))
	case n < 169 && len(h.holders) > 0:
		h.count("ended")
		h.end(h.rng.IntN(len(h.holders)))
	case n < 180:
		h.wake()
	case n < 184:
		h.byHand()
	case n < 186:
		h.rebuild()
	default:
		h.catchUp()
	}
}

func (h *history) count(what string) { h.counts[what]++ }

func (h *history) append() {
	data := make([]eventstore.EventData, 1+h.rng.IntN(4))
	for i := range data {
		amount := 1
		if h.rng.IntN(80) == 0 {
			amount = 13
		}
		data[i] = encoded(h.t, deposited{amount})
	}
	stream := account(h.rng.IntN(30))
	if h.rng.IntN(4) == 0 {
		stream.Kind = "other"
	}
	h.last = appended(h.t, h.store, stream, data...)
}

// some returns a projection to do something with by hand.
func (h *history) some() *projection.Projection[*vaultTx] {
	if len(h.holders) == 0 {
		h.begin(1 + h.rng.IntN(16))
	}
	return h.holders[h.rng.IntN(len(h.holders))].p
}

// byHand retries or discards something that is parked.
func (h *history) byHand() {
	p := h.some()
	list, err := p.Parked(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	if len(list) == 0 {
		return
	}
	stream := list[h.rng.IntN(len(list))].Stream
	if h.rng.IntN(2) == 0 {
		h.count("retried")
		err = h.await(p, func() error { return p.Retry(h.t.Context(), stream) })
	} else {
		h.count("discarded")
		err = h.await(p, func() error { return p.Discard(h.t.Context(), stream) })
	}
	if err != nil && !errors.Is(err, projection.ErrParked) && !errors.Is(err, projection.ErrNotParked) && !errors.Is(err, errConflict) {
		h.t.Errorf("%s: %v", stream, err)
	}
}

// rebuild rebuilds for a moment.
func (h *history) rebuild() {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Duration(h.rng.IntN(100))*time.Millisecond)
	defer cancel()
	p := h.some()
	err := h.await(p, func() error {
		_, err := p.Rebuild(ctx, nil)
		return err
	})
	if err == nil {
		h.count("rebuilt")
	}
}

// catchUp waits until the projection is at the log's end, for a moment.
func (h *history) catchUp() {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Duration(h.rng.IntN(50))*time.Millisecond)
	defer cancel()
	if h.some().Wait(ctx, eventstore.Revision{Position: h.last.Position}) == nil {
		h.count("caught up")
	}
	for i := len(h.holders) - 1; i >= 0; i-- { // those that stopped begin anew
		if len(h.holders[i].done) > 0 {
			h.count("stopped")
			h.end(i)
		}
	}
}

// settle lets everything come to an end, and audits it.
func (h *history) settle() {
	for len(h.holders) > 0 {
		h.end(0)
	}
	h.mu.Lock()
	h.calm = true
	h.mu.Unlock()
	h.begin(1 + h.rng.IntN(16))
	p := h.holders[0].p
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx, eventstore.Revision{Position: end(h.t, h.store)}); err != nil && !errors.Is(err, projection.ErrParked) {
		h.t.Errorf("it does not come to the end: %v; %+v", err, p.Status())
	}
	list, err := p.Parked(ctx)
	if err != nil {
		h.t.Error(err)
	}
	for _, one := range list {
		if err := p.Retry(ctx, one.Stream); err != nil {
			h.t.Error(err)
		}
	}
	h.end(0)
	a := auditVault(h.t, h.vault, h.store)
	a.complete()
	h.t.Logf("%d commits, %d transactions, %d discarded; %v", len(a.commits)-1, len(h.vault.journal), a.discarded, h.counts)
}
