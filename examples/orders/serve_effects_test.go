package main_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

// ends are cards, and how orders that are placed with them end.
var ends = map[string]string{"tok": order.StagePaid, "declined": order.StageCancelled, "silent": order.StageCancelled}

// placeAll places an order with each card, and returns their ids.
func (d *desk) placeAll(round int) (ids []string) {
	d.t.Helper()
	for card := range ends {
		id := fmt.Sprintf("%s-%d", card, round)
		d.place(id, card)
		ids = append(ids, id)
	}
	return ids
}

// checkEnds checks that orders of placeAll ended as they should.
func (d *desk) checkEnds(ids []string) {
	d.t.Helper()
	stages := d.checkMoney()
	for _, id := range ids {
		card, _, _ := strings.Cut(id, "-")
		if stages[id] == ends[card] {
			continue
		}
		// While nobody was there, or the machine had no time, the deadline came.
		if s := d.find(id); s.Stage != order.StageCancelled || !strings.Contains(s.Reason, "not authorised in time") {
			d.t.Errorf("order %s is %+v, want it %s", id, s, ends[card])
		}
	}
	if len(stages) != len(ids) {
		d.t.Errorf("there are %d orders, want %d", len(stages), len(ids))
	}
}

// forgetEffects removes what the services note of the effects that they have done.
func (d *desk) forgetEffects() {
	d.t.Helper()
	js, err := jetstream.New(d.nc)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, bucket := range []string{"orders-effects", "payments-effects"} {
		if err := js.DeleteKeyValue(d.ctx, bucket); err != nil {
			d.t.Fatal(err)
		}
	}
}

// nothing are the handlers of a projection that does not run.
var nothing = projection.From(checkout.Kind, checkout.Codec,
	projection.On(func(context.Context, struct{}, checkout.Done, projection.Event) error { return nil }))

// awaitEffects waits until all effects are done of what is in the logs.
func (d *desk) awaitEffects() {
	d.t.Helper()
	for _, p := range []struct{ name, log, bucket string }{
		{"checkout", "orders-log", "orders-effects"}, {"to-payments", "orders-log", "orders-effects"},
		{"from-payments", "payments-log", "orders-effects"}, {"provider", "payments-log", "payments-effects"},
	} {
		log := d.log(p.log)
		bucket, err := projection.OpenKV(d.ctx, d.nc, p.bucket, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		same, err := projection.New(p.name, log, projection.NewEffects(bucket), nothing, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		end, err := log.Position(d.ctx)
		if err != nil {
			d.t.Fatal(err)
		}
		if err := same.Wait(d.ctx, eventstore.Revision{Position: end}); err != nil {
			d.t.Fatal(err)
		}
		if parked, err := same.Parked(d.ctx); err != nil || len(parked) > 0 {
			d.t.Errorf("%s: parked are %v, %v", p.name, parked, err)
		}
	}
}

// TestServeRestarts stops and starts the services while orders are on their way, and
// every other time lets them forget which effects they have done.
func TestServeRestarts(t *testing.T) {
	t.Parallel()
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	var ids []string
	rounds := 4
	for round := range rounds {
		svc := startServices(t, server, dir, 500*time.Millisecond)
		ids = append(ids, d.placeAll(round)...)
		stop(t, svc)
		if round%2 == 1 {
			d.forgetEffects()
		}
	}
	svc := startServices(t, server, dir, 500*time.Millisecond)
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	d.checkList(svc)
}

// TestServeEffectsAgain does all effects of ended orders again. Nothing may come of it.
func TestServeEffectsAgain(t *testing.T) {
	t.Parallel()
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	svc := startServices(t, server, dir, time.Hour)
	for id, card := range map[string]string{"paid": "tok", "shipped": "tok", "refunded": "tok", "declined": "declined"} {
		d.place(id, card)
	}
	d.awaitEnds("paid", "shipped", "refunded", "declined")
	if _, err := d.orders.Execute(d.ctx, "shipped", order.Ship{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.orders.Execute(d.ctx, "refunded", order.Cancel{}, nil); err != nil {
		t.Fatal(err)
	}
	d.awaitCheckouts(checkout.Failed{}.EventType(), "refunded")
	stop(t, svc)
	svc = startServices(t, server, dir, time.Millisecond)
	d.place("silent", "silent")
	d.awaitEnds("silent")
	d.awaitEffects()
	stop(t, svc)
	before := d.positions()

	d.forgetEffects()
	svc = startServices(t, server, dir, time.Millisecond)
	d.awaitEffects()
	// The deadlines are over again, of those who have one no more.
	d.place("last", "silent")
	d.awaitEnds("last")
	stop(t, svc)
	d.checkMoney()
	for _, name := range []string{"orders-log", "payments-log"} {
		for e, err := range d.log(name).Log(d.ctx, before[name], nil) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Stream.ID != "last" {
				t.Errorf("%s %s came of effects that were done again", e.Stream, e.Type)
			}
		}
	}
}

// TestServeEffectsFail has each effect fail three times: before it is done, when it is
// done and nobody knows, and broken off in the middle. It is done once all the same.
func TestServeEffectsFail(t *testing.T) {
	t.Parallel()
	f := &faults{tries: make(map[string]int)}
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	svc := startServing(t, server, dir, orders.Serving{Deadline: time.Hour, Effect: f.around})
	for id, card := range map[string]string{"paid": "tok", "refunded": "tok", "declined": "declined"} {
		d.place(id, card)
	}
	d.awaitEnds("paid", "refunded", "declined")
	if _, err := d.orders.Execute(d.ctx, "refunded", order.Cancel{}, nil); err != nil {
		t.Fatal(err)
	}
	d.awaitCheckouts(checkout.Failed{}.EventType(), "refunded")
	stop(t, svc)
	startServing(t, server, dir, orders.Serving{Deadline: 10 * time.Millisecond, Effect: f.around})
	d.place("silent", "silent")
	d.awaitEnds("silent")
	d.awaitEffects()
	stages := d.checkMoney()
	for id, stage := range map[string]string{"paid": "paid", "refunded": "cancelled", "declined": "cancelled", "silent": "cancelled"} {
		if stages[id] != stage {
			t.Errorf("order %s is %s", id, stages[id])
		}
	}
	for effect, n := range f.tries {
		if n < 4 {
			t.Errorf("%s failed %d times", effect, n-1)
		}
	}
	if len(f.tries) < 30 {
		t.Errorf("there were %d effects", len(f.tries))
	}
}

// faults has each effect of each projection fail three times.
type faults struct {
	mu    sync.Mutex
	tries map[string]int
}

func (f *faults) try(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries[key]++
	return f.tries[key]
}

func (f *faults) around(name string) orders.Around {
	lost := &projection.Transient{Err: errors.New("lost")}
	return func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
		switch f.try(fmt.Sprint(name, at.Stream, at.Version)) {
		case 1:
			return lost
		case 2:
			return errors.Join(next(ctx), lost)
		case 3:
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return errors.Join(next(ctx), lost)
		}
		return next(ctx)
	}
}

func (d *desk) positions() map[string]uint64 {
	d.t.Helper()
	at := make(map[string]uint64)
	for _, name := range []string{"orders-log", "payments-log"} {
		var err error
		if at[name], err = d.log(name).Position(d.ctx); err != nil {
			d.t.Fatal(err)
		}
	}
	return at
}
