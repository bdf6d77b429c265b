//go:build unix

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/load"
	"github.com/headwater-go/headwater/examples/orders/order"
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
	length := max(soak(), 15*time.Second)
	f := newFleet(t, random, 3, 2)
	config := load.Config{Orders: int(6 * length.Seconds()), Rate: 6, Clients: 24, Seed: int64(random.Uint32()), Patience: patience}
	for _, p := range f.orders {
		config.URLs = append(config.URLs, "http://"+p.http)
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
	for _, p := range f.all() {
		f.awaitReady(p)
	}
	loading.Wait()
	t.Logf("%v\nfaults: %v", report, f.made)
	if failed != nil {
		t.Fatal(failed)
	}
	f.audit(report.Orders)
}

// audit waits until all orders have come to their end, and compares everything.
func (f *fleet) audit(placed []load.Order) {
	f.Helper()
	d := newDesk(f.T, f)
	var byCard []string
	known := make(map[string]bool)
	for _, p := range placed {
		known[p.ID] = true
		if p.Card != "" {
			byCard = append(byCard, p.ID)
		}
	}
	d.awaitEnds(byCard...)
	d.awaitEffects()
	stages := d.checkMoney()
	for _, id := range byCard {
		if stages[id] == order.StagePlaced {
			f.Errorf("order %s is neither paid nor cancelled", id)
		}
	}
	for id := range stages {
		if !known[id] {
			f.Errorf("nobody placed order %s", id)
		}
	}
	if len(stages) != len(known) {
		f.Errorf("%d orders are in the log, and %d were placed", len(stages), len(known))
	}
	f.listsAreFolds(d, stages)
	for _, name := range []string{"orders-log", "payments-log"} {
		if found, err := d.log(name).Verify(d.ctx, nil); err != nil || len(found.Damage) > 0 {
			f.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// listsAreFolds compares the read model of each process with what the service finds in
// the log. To look at its file, a process is stopped, the last one when all is found.
func (f *fleet) listsAreFolds(d *desk, stages map[string]string) {
	f.Helper()
	found := make(map[string]order.Summary)
	for id := range stages {
		found[id] = d.find(id)
	}
	for _, p := range f.orders {
		eventually(f.T, "the read model has all", func() error { return caughtUp(p) })
		p.terminate(f.T)
		listed := f.list(p)
		for _, s := range listed {
			if s != found[s.ID] {
				f.Errorf("%q lists %+v, and its events come to %+v", p.args, s, found[s.ID])
			}
		}
		if len(listed) != len(found) {
			f.Errorf("%q lists %d orders of %d", p.args, len(listed), len(found))
		}
	}
}

// caughtUp reports that something waits for the read model of a process.
func caughtUp(p *process) error {
	health, err := readiness(p)
	for _, part := range health.Parts {
		if part.Part == "projection orders" && part.Lag > 0 {
			err = fmt.Errorf("%+v", part)
		}
	}
	return err
}

// list returns what a process that is stopped has in its read model.
func (f *fleet) list(p *process) (all []order.Summary) {
	f.Helper()
	file, err := projection.OpenFile(filepath.Join(p.dir, "orders", "read-models"))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	err = file.View("orders", func(bucket *bbolt.Bucket) error {
		return bucket.ForEach(func(key, value []byte) error {
			if !strings.HasPrefix(string(key), "placed/") {
				return nil
			}
			all = append(all, order.Summary{})
			return json.Unmarshal(value, &all[len(all)-1])
		})
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
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
		for _, p := range f.all() {
			p.terminate(t)
			p.start(t)
			f.awaitReady(p)
		}
	}
	stop()
	asking.Wait()
	var all []load.Order
	for _, orders := range placed {
		all = append(all, orders...)
	}
	f.audit(all)
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
		placed = append(placed, load.Order{ID: id, Card: "good"})
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
