package main_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// desk is where a test places orders, and looks what became of them.
type desk struct {
	t        *testing.T
	ctx      context.Context
	orders   *service.Client
	payments *service.Client
	nc       *nats.Conn
}

func newDesk(t *testing.T, on testutil.Connector) *desk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	d := &desk{t: t, ctx: ctx, nc: testutil.Connect(t, on)}
	var err error
	if d.orders, err = service.NewClient(d.nc, "orders", &service.ClientOptions{Errors: order.Errors}); err != nil {
		t.Fatal(err)
	}
	if d.payments, err = service.NewClient(d.nc, "payments", &service.ClientOptions{Errors: payment.Errors}); err != nil {
		t.Fatal(err)
	}
	return d
}

// log opens a log of the services, which are there.
func (d *desk) log(name string) *eventstore.Store {
	d.t.Helper()
	log, err := eventstore.Open(d.ctx, d.nc, name, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return log
}

// startServices starts both services on a server, with folders in dir.
func startServices(t *testing.T, on testutil.Connector, dir string, deadline time.Duration) *service.Service {
	t.Helper()
	return startServing(t, on, dir, orders.Serving{Deadline: deadline})
}

func startServing(t *testing.T, on testutil.Connector, dir string, s orders.Serving) *service.Service {
	t.Helper()
	svc, err := s.Start(t.Context(), on.Connect, service.Config{DataDir: dir, Instance: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, svc) })
	return svc
}

func stop(t *testing.T, svc *service.Service) {
	t.Helper()
	if err := svc.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("stop: %v", err)
	}
}

var twoChais = []order.Item{{Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 2}}

// place places an order of 36.00.
func (d *desk) place(id, card string) {
	d.t.Helper()
	c := order.Place{Customer: "ALFKI", Card: card, Lines: twoChais}
	if _, err := d.orders.Execute(d.ctx, id, c, &service.CommandOptions{CommandID: "place-" + id}); err != nil {
		d.t.Errorf("place %s: %v", id, err)
	}
}

func (d *desk) find(id string) order.Summary {
	d.t.Helper()
	s, err := service.Ask[order.Summary](d.ctx, d.orders, order.Find{ID: id}, nil)
	if err != nil {
		d.t.Fatalf("find %s: %v", id, err)
	}
	return s
}

// awaitCheckouts waits until checkouts have made an event of a type.
func (d *desk) awaitCheckouts(eventType string, ids ...string) {
	d.t.Helper()
	d.await(d.log("orders-log"), checkout.Kind, func(e eventstore.Event) bool { return e.Type == eventType }, ids...)
}

// await waits until each of some streams has an event.
func (d *desk) await(log *eventstore.Store, kind string, is func(eventstore.Event) bool, ids ...string) {
	d.t.Helper()
	missing := make(map[string]bool)
	for _, id := range ids {
		missing[id] = true
	}
	for e, err := range log.Follow(d.ctx, 0, &eventstore.LogOptions{Kinds: []string{kind}}) {
		if err != nil {
			d.t.Fatalf("%v; missing are %v", err, missing)
		}
		if is(e) {
			delete(missing, e.Stream.ID)
		}
		if len(missing) == 0 {
			return
		}
	}
}

// awaitEnds waits until checkouts have ended.
func (d *desk) awaitEnds(ids ...string) {
	d.t.Helper()
	d.await(d.log("orders-log"), checkout.Kind, func(e eventstore.Event) bool {
		return e.Type == checkout.Done{}.EventType() || e.Type == checkout.Failed{}.EventType()
	}, ids...)
}

// checkMoney checks that no order, payment or checkout has an event twice, that what
// the shop has is what orders are paid, and that no payment is without its order. It
// returns the stages of the orders.
func (d *desk) checkMoney() map[string]string {
	d.t.Helper()
	stages := make(map[string]string)
	ordersLog, paymentsLog := d.log("orders-log"), d.log("payments-log")
	book := aggregate.NewRepository[order.Order](ordersLog, order.Kind, order.Codec, nil)
	purse := aggregate.NewRepository[payment.Payment](paymentsLog, payment.Kind, payment.Codec, nil)
	for head, err := range ordersLog.Streams(d.ctx, order.Kind, 0) {
		if err != nil {
			d.t.Fatal(err)
		}
		id := head.Stream.ID
		o, _, err := book.Load(d.ctx, id)
		if err != nil {
			d.t.Fatal(err)
		}
		p, _, err := purse.Load(d.ctx, id)
		if err != nil && !errors.Is(err, eventstore.ErrInvalid) { // an id too long for a payment
			d.t.Fatal(err)
		}
		stages[id] = o.Stage()
		_, net, _ := o.Amounts()
		paid := o.Card != "" && (o.Stage() == order.StagePaid || o.Stage() == order.StageShipped)
		if paid && p.Held() != net || !paid && p.Held() != 0 {
			d.t.Errorf("order %s of %s is %s, and the shop has %s", id, net, o.Stage(), p.Held())
		}
	}
	for head, err := range paymentsLog.Streams(d.ctx, payment.Kind, 0) {
		if err != nil {
			d.t.Fatal(err)
		}
		if stages[head.Stream.ID] == "" {
			d.t.Errorf("payment %s has no order", head.Stream.ID)
		}
	}
	d.checkOnce(paymentsLog)
	d.checkOnce(ordersLog)
	return stages
}

// checkOnce checks that no stream has two events of a type, but for lines.
func (d *desk) checkOnce(log *eventstore.Store) {
	d.t.Helper()
	seen := make(map[string]bool)
	for e, err := range log.Log(d.ctx, 0, nil) {
		if err != nil {
			d.t.Fatal(err)
		}
		key := e.Stream.String() + " " + e.Type
		if seen[key] && e.Type != (order.LineAdded{}).EventType() {
			d.t.Errorf("%s twice", key)
		}
		seen[key] = true
	}
}

// checkList checks that the read model says of each order what the log does.
func (d *desk) checkList(svc *service.Service) {
	d.t.Helper()
	end, err := svc.Log().Position(d.ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	list, err := service.Ask[order.Listed](d.ctx, d.orders, order.List{Limit: order.MaxLimit}, &service.AskOptions{NotBefore: eventstore.Revision{Position: end}})
	if err != nil {
		d.t.Fatal(err)
	}
	if list.Position < end || len(list.Orders) == 0 {
		d.t.Errorf("%d orders are listed as of %d, want %d", len(list.Orders), list.Position, end)
	}
	for _, listed := range list.Orders {
		if found := d.find(listed.ID); found != listed {
			d.t.Errorf("listed is %+v\nfound     %+v", listed, found)
		}
	}
}

// TestServe has orders come to each of their ends.
func TestServe(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	dir := t.TempDir()
	svc := startServices(t, server, dir, time.Hour)
	d := newDesk(t, server)
	for id, card := range map[string]string{"paid": "tok-1", "declined": "declined-1", "shipped": "tok-2", "cancelled": "tok-3", "free": ""} {
		d.place(id, card)
	}
	d.awaitEnds("paid", "declined", "shipped", "cancelled")
	if _, err := d.orders.Execute(d.ctx, "shipped", order.Ship{}, nil); err != nil {
		t.Error(err)
	}
	if _, err := d.orders.Execute(d.ctx, "cancelled", order.Cancel{Reason: "moths"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := d.orders.Execute(d.ctx, "shipped", order.Cancel{}, nil); !errors.Is(err, order.ErrShipped) {
		t.Errorf("cancel what is shipped: %v", err)
	}
	d.awaitCheckouts(checkout.Failed{}.EventType(), "cancelled")
	stop(t, svc)
	svc = startServices(t, server, dir, 10*time.Millisecond)
	d.place("silent", "silent-1")
	d.awaitEnds("silent")

	for id, stage := range map[string]string{
		"paid": "paid", "declined": "cancelled", "silent": "cancelled", "shipped": "shipped", "cancelled": "cancelled", "free": "placed",
	} {
		if s := d.find(id); s.Stage != stage || s.Amount != 36_0000 || s.Customer != "ALFKI" || s.Changed.IsZero() {
			t.Errorf("%s is %+v", id, s)
		}
	}
	for id, why := range map[string]string{"declined": "not enough money", "silent": "not authorised in time", "cancelled": "moths"} {
		if s := d.find(id); !strings.Contains(s.Reason, why) {
			t.Errorf("%s is cancelled because %q", id, s.Reason)
		}
	}
	d.checkMoney()
	d.checkList(svc)

	// What was late is refused where it matters: at the payment.
	if _, err := d.payments.Execute(d.ctx, "silent", payment.Capture{}, nil); !errors.Is(err, payment.ErrVoided) {
		t.Errorf("capture what was voided: %v", err)
	}
	if _, err := service.Ask[order.Summary](d.ctx, d.orders, order.Find{ID: "none"}, nil); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("find none: %v", err)
	}
	if _, err := service.Ask[order.Listed](d.ctx, d.orders, order.List{Limit: -1}, nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("list -1: %v", err)
	}
}

// TestServeOtherLines changes the lines of orders at the moment they are paid: what is
// paid is what the order amounts to, or it is cancelled and the money given back.
func TestServeOtherLines(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	startServices(t, server, t.TempDir(), time.Minute)
	d := newDesk(t, server)
	log := d.log("orders-log")
	book := aggregate.NewRepository[order.Order](log, order.Kind, order.Codec, nil)
	var ids []string
	for i := range 20 {
		id := fmt.Sprint(i)
		ids = append(ids, id)
		d.place(id, "tok")
		_, _, err := book.Execute(d.ctx, id, order.AddLine{Item: twoChais[0]}, nil)
		if err != nil && !errors.Is(err, order.ErrPaid) {
			t.Fatal(err)
		}
	}
	d.awaitEnds(ids...)
	stages := d.checkMoney()
	cancelled := 0
	for id, stage := range stages {
		s := d.find(id)
		switch {
		case stage == order.StageCancelled && strings.Contains(s.Reason, "does not amount to that") && s.Amount == 72_0000:
			cancelled++
		case stage != order.StagePaid || s.Amount != 36_0000:
			t.Errorf("order %s is %+v", id, s)
		}
	}
	if cancelled == 0 {
		t.Error("no line came in between")
	}
}

// TestServeLongTexts lists as many orders as are ever listed, with texts as long as there
// are: others are refused. Of '<' the JSON is six times as long.
func TestServeLongTexts(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	startServices(t, server, t.TempDir(), time.Minute)
	d := newDesk(t, server)
	long := strings.Repeat("<", order.MaxText)
	var at eventstore.Revision
	for i := range order.MaxLimit {
		id := fmt.Sprint(strings.Repeat("x", 200), i)
		_, err := d.orders.Execute(d.ctx, id, order.Place{Customer: long, Lines: twoChais}, nil)
		if err == nil {
			at, err = d.orders.Execute(d.ctx, id, order.Cancel{Reason: long}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	listed, err := service.Ask[order.Listed](d.ctx, d.orders, order.List{Limit: 1 << 30}, &service.AskOptions{NotBefore: at})
	if err != nil || len(listed.Orders) != order.MaxLimit {
		t.Errorf("%d orders are listed, %v", len(listed.Orders), err)
	}
	if _, err := d.orders.Execute(d.ctx, "1", order.Place{Customer: long + "x", Lines: twoChais}, nil); !errors.Is(err, order.ErrTooLong) {
		t.Errorf("place for a customer too long: %v", err)
	}
}

// TestServeLongID places an order whose id is too long for a checkout.
func TestServeLongID(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	startServices(t, server, t.TempDir(), time.Minute)
	d := newDesk(t, server)
	var ids []string
	for n := 255; len(ids) < 4; n-- { // the longest that orders can have, and then shorter
		id := strings.Repeat("x", n)
		_, err := d.orders.Execute(d.ctx, id, order.Place{Customer: "ALFKI", Card: "tok", Lines: twoChais}, nil)
		switch {
		case err == nil:
			ids = append(ids, id)
		case !errors.Is(err, eventstore.ErrInvalid):
			t.Fatal(err)
		}
	}
	paid, cancelled := order.Paid{}.EventType(), order.Cancelled{}.EventType()
	d.await(d.log("orders-log"), order.Kind, func(e eventstore.Event) bool { return e.Type == paid || e.Type == cancelled }, ids...)
	if s := d.find(ids[0]); s.Stage != order.StageCancelled || !strings.Contains(s.Reason, "too long") {
		t.Errorf("the longest is %+v", s)
	}
	d.checkMoney()
}
