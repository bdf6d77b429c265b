package main_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/load"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// TestServeLoad places many orders over HTTP, by many clients, while one of two fronts
// is killed and comes back. Each order is placed once, and comes to an end.
func TestServeLoad(t *testing.T) {
	t.Parallel()
	server := listening(t)
	d := newDesk(t, server)
	env := func() []string {
		return []string{"NATS_SERVERS=" + server.URL(), "HEADWATER_DATA=" + t.TempDir()}
	}
	payments := serveChild(t, env(), "payments")
	one, two := freeAddress(t), freeAddress(t)
	first := serveChild(t, env(), "orders", "-deadline", "5s", "-http", one)
	second := serveChild(t, env(), "orders", "-deadline", "5s", "-http", two)

	count := 60
	if testing.Short() {
		count = 20
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan struct{})
	var report load.Report
	var err error
	go func() {
		defer close(done)
		report, err = load.Run(ctx, load.Config{
			URLs: []string{"http://" + one, "http://" + two}, Orders: count, Clients: 8, Seed: 1, Timeout: 5 * time.Second,
		})
	}()
	paid := order.Paid{}.EventType()
	for e, err := range d.log("orders-log").Follow(ctx, 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == paid {
			break
		}
	}
	first.kill(t)
	first = serveChild(t, env(), "orders", "-deadline", "5s", "-http", one)
	<-done
	t.Log(report)
	if err != nil {
		t.Fatal(err)
	}

	log := d.log("orders-log")
	placed := make(map[string]bool)
	for e, err := range log.Log(ctx, 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == (order.Placed{}).EventType() {
			placed[e.Stream.ID] = true
		}
	}
	for _, o := range report.Orders {
		if !placed[o.ID] {
			t.Errorf("order %s is not in the log", o.ID)
		}
	}
	if len(placed) != len(report.Orders) {
		t.Errorf("%d orders were placed, and %d are in the log", len(report.Orders), len(placed))
	}
	var byCard []string
	for _, o := range report.Orders {
		if o.Card != "" {
			byCard = append(byCard, o.ID)
		}
	}
	d.awaitEnds(byCard...)
	d.awaitEffects()
	d.checkMoney()
	for _, p := range []*process{first, second, payments} {
		p.terminate(t)
	}
}

// freeAddress returns an address of the loopback interface that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
