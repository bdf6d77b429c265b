package main_test

import (
	"testing"

	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// TestLoad places orders with the command, twice: the second time they are there.
func TestLoad(t *testing.T) {
	t.Parallel()
	server := listening(t)
	d := newDesk(t, server)
	p := serveChild(t, []string{"NATS_SERVERS=" + server.URL()}, "-deadline", "2s", "-http", "127.0.0.1:0")
	for range 2 {
		out := succeed(t, "load", "-urls", "http://"+p.http, "-orders", "30", "-clients", "4")
		requireContains(t, out, " orders placed, ", " shipped, ")
	}
	placed := 0
	var byCard []string
	for e, err := range d.log("orders-log").Log(d.ctx, 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == (order.Placed{}).EventType() {
			placed++
		}
		if e.Type == (checkout.PaymentWanted{}).EventType() {
			byCard = append(byCard, e.Stream.ID)
		}
	}
	if placed == 0 || placed > 30 {
		t.Errorf("%d orders are placed", placed)
	}
	d.awaitEnds(byCard...)
	d.awaitEffects()
	d.checkMoney()
	p.terminate(t)
}
