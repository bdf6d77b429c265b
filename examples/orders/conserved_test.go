//go:build unix

package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/load"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
)

// soak is how long the long forms of the tests go on, 0 for their short ones.
func soak() time.Duration {
	if os.Getenv("HEADWATER_SOAK") != "" {
		return 5 * time.Minute
	}
	return 0
}

// TestMoneyIsConserved places orders at three processes of the orders service, which
// has two of the payments service behind it and a cluster of three nodes below, while
// any of these is killed, paused or restarted. In the end each order is paid once or
// cancelled, and read models are what the events come to.
func TestMoneyIsConserved(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a cluster and five processes")
	}
	random := newRand(t)
	length := max(soak(), 20*time.Second)
	f := newFleet(t, random, 3, 2)
	config := load.Config{Orders: int(6 * length.Seconds()), Rate: 6, Clients: 24, Seed: int64(random.Uint32()), Patience: patience}
	for _, i := range f.instances {
		if i.http != "" {
			config.URLs = append(config.URLs, "http://"+i.http)
		}
	}
	var report load.Report
	var failed error
	var loading sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), length+2*patience)
	defer cancel()
	loading.Go(func() { report, failed = load.Run(ctx, config) })
	for began := time.Now(); time.Since(began) < length; {
		f.fault()
	}
	for _, i := range f.instances {
		f.awaitReady(i)
	}
	loading.Wait()
	t.Logf("%v\nfaults: %v", report, f.made)
	if failed != nil {
		t.Fatal(failed)
	}
	newBooks(f).audit(report.Orders)
}

// books are the logs of a fleet, and what they come to.
type books struct {
	*fleet
	orders, payments *eventstore.Store
	placed           *aggregate.Repository[order.Order, order.Event]
	checkouts        *aggregate.Repository[checkout.Checkout, checkout.Event]
	paid             *aggregate.Repository[payment.Payment, payment.Event]
	seen             map[string]bool // orders in the log
}

func newBooks(f *fleet) *books {
	f.Helper()
	b := &books{fleet: f, orders: f.open("orders-log"), payments: f.open("payments-log")}
	b.placed = aggregate.NewRepository[order.Order](b.orders, order.Kind, order.Codec, nil)
	b.checkouts = aggregate.NewRepository[checkout.Checkout](b.orders, checkout.Kind, checkout.Codec, nil)
	b.paid = aggregate.NewRepository[payment.Payment](b.payments, payment.Kind, payment.Codec, nil)
	return b
}

// audit waits until all orders have come to their end, and compares everything.
func (b *books) audit(placed []load.Order) {
	b.Helper()
	for _, p := range placed {
		b.eventually("order "+p.ID+" comes to its end", func() error { return b.ended(p.ID) })
	}
	known := make(map[string]bool)
	for _, p := range placed {
		known[p.ID] = true
	}
	b.conserved(known)
	b.listsAreFolds()
	for _, log := range []*eventstore.Store{b.orders, b.payments} {
		if found, err := log.Verify(b.Context(), nil); err != nil || len(found.Damage) > 0 {
			b.Errorf("log %s: %+v, %v", log.Name(), found, err)
		}
	}
}

// ended reports that an order is not at its end: paid, or cancelled and nothing held.
func (b *books) ended(id string) error {
	o, _, err := b.placed.Load(b.Context(), id)
	if err != nil {
		return err
	}
	p, _, err := b.paid.Load(b.Context(), id)
	if err != nil {
		return err
	}
	c, _, err := b.checkouts.Load(b.Context(), id)
	if err != nil {
		return err
	}
	want := order.Money(0)
	if o.Paid && !o.Cancelled {
		if _, want, err = o.Amounts(); err != nil {
			return err
		}
	}
	switch {
	case !o.Placed:
		return errors.New("it is not in the log")
	case c.Begun && !c.Ended():
		return fmt.Errorf("its checkout has not ended: %+v", c)
	case o.Card != "" && !o.Paid && !o.Cancelled:
		return errors.New("it is neither paid nor cancelled")
	case o.Card != "" && p.Held() != want, o.Card == "" && p.Requested:
		return fmt.Errorf("it is worth %v to the shop and %v are held", want, p.Held())
	}
	return nil
}

// conserved reads the logs event by event: no order is placed or paid twice, and no
// payment is without its order.
func (b *books) conserved(known map[string]bool) {
	b.Helper()
	count := make(map[string]int)
	b.seen = make(map[string]bool)
	for e, err := range b.orders.Log(b.Context(), 0, &eventstore.LogOptions{Kinds: []string{order.Kind}}) {
		if err != nil {
			b.Fatal(err)
		}
		b.seen[e.Stream.ID] = true
		count[e.Type+" "+e.Stream.ID]++
		if !known[e.Stream.ID] {
			b.Errorf("nobody placed order %s", e.Stream.ID)
		}
	}
	for e, err := range b.payments.Log(b.Context(), 0, nil) {
		if err != nil {
			b.Fatal(err)
		}
		count[e.Type+" "+e.Stream.ID]++
		if !b.seen[e.Stream.ID] {
			b.Errorf("%s without an order: %s", e.Type, e.Stream.ID)
		}
	}
	for what, n := range count {
		if n > 1 && what[:len("order.line")] != "order.line" {
			b.Errorf("%s: %d times", what, n)
		}
	}
	if len(b.seen) != len(known) {
		b.Errorf("%d orders are in the log, and %d were placed", len(b.seen), len(known))
	}
}

// listsAreFolds compares the read model of each process with a fold of the events. To
// look at its file, it is stopped.
func (b *books) listsAreFolds() {
	b.Helper()
	for _, i := range b.instances {
		if i.service != "orders" {
			continue
		}
		b.eventually("the read model of "+i.name+" has all", func() error { return caughtUp(i) })
		if err := b.stop(i); err != nil {
			b.Errorf("%s ended: %v", i.name, err)
		}
		listed := 0
		for got := range b.list(i) {
			o, at, err := b.placed.Load(b.Context(), got.ID)
			if err != nil {
				b.Fatal(err)
			}
			_, net, _ := o.Amounts()
			want := order.Summary{
				ID: got.ID, Customer: o.Customer, Stage: o.Stage(), Reason: o.Reason, Amount: net,
				Version: at.Version, Position: at.Position, Changed: got.Changed,
			}
			if got != want {
				b.Errorf("%s lists %+v, and its events come to %+v", i.name, got, want)
			}
			listed++
		}
		if listed != len(b.seen) {
			b.Errorf("%s lists %d orders of %d", i.name, listed, len(b.seen))
		}
	}
}

// caughtUp reports that something waits for the read model of a process.
func caughtUp(i *instance) error {
	answer, err := http.Get("http://" + i.health + "/health/ready")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var health service.Health
	if err := json.NewDecoder(answer.Body).Decode(&health); err != nil {
		return err
	}
	if health.Status != "ready" {
		return fmt.Errorf("%+v", health)
	}
	for _, p := range health.Parts {
		if p.Part == "projection orders" && p.Lag > 0 {
			return fmt.Errorf("%+v", p)
		}
	}
	return nil
}

// list returns what a process that is stopped has in its read model.
func (b *books) list(i *instance) iter.Seq[order.Summary] {
	b.Helper()
	file, err := projection.OpenFile(filepath.Join(i.dir, "orders", "read-models"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var all []order.Summary
	err = file.View("orders", func(bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(key, value []byte) error {
			if !strings.HasPrefix(string(key), "placed/") {
				return nil
			}
			var s order.Summary
			if err := json.Unmarshal(value, &s); err != nil {
				return err
			}
			all = append(all, s)
			return nil
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	return slices.Values(all)
}

// TestRollingRestart replaces each process in turn, by SIGTERM, under clients that send
// a command again with the same id until they know what became of it. None fails in the
// end, none is applied twice, and each process ends well.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a cluster and five processes")
	}
	f := newFleet(t, newRand(t), 3, 2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const clients = 8
	placed := make([][]load.Order, clients)
	var asking sync.WaitGroup
	for c := range clients {
		asking.Go(func() { placed[c] = f.placeUntil(ctx, c) })
	}
	rounds := 1
	if soak() > 0 {
		rounds = 10
	}
	for range rounds {
		for _, i := range f.instances {
			if err := f.stop(i); err != nil {
				t.Errorf("%s ended: %v", i.name, err)
			}
			f.start(i)
			f.awaitReady(i)
		}
	}
	stop()
	asking.Wait()
	var all []load.Order
	for _, orders := range placed {
		all = append(all, orders...)
	}
	newBooks(f).audit(all)
}

// placeUntil places orders and cancels every third, until the context ends.
func (f *fleet) placeUntil(ctx context.Context, client int) (placed []load.Order) {
	nc, err := nats.Connect(f.servers()[client%len(f.nodes)], nats.MaxReconnects(-1))
	if err != nil {
		f.Error(err)
		return nil
	}
	defer nc.Close()
	shop, err := service.NewClient(nc, "orders", &service.ClientOptions{Errors: order.Errors})
	if err != nil {
		f.Error(err)
		return nil
	}
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("rolling-%d-%d", client, n)
		place := order.Place{Customer: id, Card: "good", Lines: []order.Item{{Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 1 + int64(n%7)}}}
		if err := f.ask(shop, id, "place", place); err != nil {
			f.Errorf("%s: %v", id, err)
			return placed
		}
		placed = append(placed, load.Order{ID: id})
		if n%3 > 0 {
			continue
		}
		if err := f.ask(shop, id, "cancel", order.Cancel{Reason: "not wanted"}); err != nil {
			f.Errorf("%s: %v", id, err)
		}
	}
	return placed
}

func (f *fleet) ask(shop *service.Client, id, commandID string, command service.Typed) error {
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	_, err := shop.Execute(ctx, id, command, &service.CommandOptions{CommandID: commandID})
	return err
}
