package checkout_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
)

// stream is the events of an aggregate, and the ids of the commands that it has
// applied. A world has copies of the worlds before it, so nothing is changed in place.
type stream[E any] struct {
	events  []E
	applied []string
}

type state[S, E any] interface{ Evolve(E) S }

type command[S, E any] interface{ Decide(S) ([]E, error) }

func fold[S state[S, E], E any](s stream[E]) (folded S) {
	for _, e := range s.events {
		folded = folded.Evolve(e)
	}
	return folded
}

// execute does what a repository does: a command whose id was applied is not decided
// on again.
func execute[S state[S, E], E any](s *stream[E], id string, c command[S, E]) error {
	if slices.Contains(s.applied, id) {
		return nil
	}
	events, err := c.Decide(fold[S](*s))
	if err != nil || len(events) == 0 {
		return err
	}
	s.events = append(slices.Clip(s.events), events...)
	s.applied = append(slices.Clip(s.applied), id)
	return nil
}

// reader is one that handles the events of a stream in their order. Each of them is
// on its own: nobody knows how far the others are.
type reader int

const (
	ordersForCheckout   reader = iota // the orders' events, for the checkout
	checkoutForOrders                 // what the checkout wants of orders and timers
	checkoutForPayments               // what the checkout wants of payments
	paymentsForCheckout               // the payments' events, for the checkout
	paymentsForProvider               // what the provider is asked
	readers
)

// world is one order, its payment and checkout, and whoever is at work on them.
type world struct {
	order    stream[order.Event]
	payment  stream[payment.Event]
	checkout stream[checkout.Event]
	at       [readers]int // how many events each reader has handled
	timer    bool         // it is set, or has fired: it may fire again
	verdict  verdict      // of the payment provider

	// How often something may still happen.
	cancels, lines, ships, hands, replays int
}

type verdict string

const (
	authorises verdict = "authorises"
	declines   verdict = "declines"
	silent     verdict = "is silent"
)

var chai = order.Item{Product: "Chai", UnitPrice: 1800 * order.Cent, Quantity: 2}

func newWorld(v verdict) world {
	w := world{verdict: v}
	must(execute(&w.order, "place", order.Place{Customer: "ALFKI", Card: "tok-1", Lines: []order.Item{chai}}))
	return w
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// waiting returns how many events a reader has not handled.
func (w *world) waiting(r reader) int {
	switch r {
	case ordersForCheckout:
		return len(w.order.events) - w.at[r]
	case checkoutForOrders, checkoutForPayments:
		return len(w.checkout.events) - w.at[r]
	default:
		return len(w.payment.events) - w.at[r]
	}
}

// handle lets a reader handle the event of an index, the first time or again.
func (w *world) handle(r reader, i int) {
	id := fmt.Sprint(r, "/", i)
	switch r {
	case ordersForCheckout:
		w.onOrder(id, w.order.events[i])
	case checkoutForOrders:
		w.onWishOfOrders(id, w.checkout.events[i])
	case checkoutForPayments:
		w.onWishOfPayments(id, w.checkout.events[i])
	case paymentsForCheckout:
		w.onPayment(id, w.payment.events[i])
	case paymentsForProvider:
		w.onRequest(id, w.payment.events[i])
	}
}

func (w *world) tell(id string, c command[checkout.Checkout, checkout.Event]) {
	must(execute(&w.checkout, id, c)) // which refuses nothing
}

func (w *world) onOrder(id string, event order.Event) {
	switch e := event.(type) {
	case order.Placed:
		w.tell(id, checkout.Begin{Amount: 36_0000, Card: e.Card, Deadline: time.Unix(30, 0)})
	case order.Cancelled:
		w.tell(id, checkout.OrderCancelled{Reason: e.Reason})
	}
}

func (w *world) onWishOfOrders(id string, event checkout.Event) {
	switch e := event.(type) {
	case checkout.PaymentWanted:
		w.timer = true
	case checkout.OrderPayWanted:
		if err := execute(&w.order, id, order.Pay{Amount: e.Amount}); err != nil {
			w.tell(id+"refused", checkout.PayRefused{Reason: err.Error()})
		} else {
			w.tell(id+"paid", checkout.OrderPaid{})
		}
	case checkout.CancelWanted:
		switch err := execute(&w.order, id, order.Cancel{Reason: e.Reason}); {
		case errors.Is(err, order.ErrShipped):
			w.tell(id+"refused", checkout.CancelRefused{})
		case err == nil, errors.Is(err, order.ErrCancelled):
			w.tell(id+"cancelled", checkout.OrderCancelled(e))
		default:
			panic(err)
		}
	}
}

// onWishOfPayments leaves refusals alone but for that of the request: whoever was
// faster, the payment's events say so.
func (w *world) onWishOfPayments(id string, event checkout.Event) {
	switch e := event.(type) {
	case checkout.PaymentWanted:
		err := execute(&w.payment, id, payment.Request{Amount: e.Amount, Card: e.Card})
		if err != nil && !errors.Is(err, payment.ErrRequested) {
			w.tell(id+"refused", checkout.PaymentRefused{Reason: err.Error()})
		}
	case checkout.CaptureWanted:
		_ = execute(&w.payment, id, payment.Capture{})
	case checkout.VoidWanted:
		_ = execute(&w.payment, id, payment.Void{Reason: e.Reason})
	case checkout.RefundWanted:
		_ = execute(&w.payment, id, payment.Refund{Reason: e.Reason})
	}
}

func (w *world) onPayment(id string, event payment.Event) {
	switch e := event.(type) {
	case payment.Authorised:
		w.tell(id, checkout.Authorised{})
	case payment.Declined:
		w.tell(id, checkout.Declined{Reason: e.Reason})
	case payment.Captured:
		w.tell(id, checkout.Captured{Amount: e.Amount})
	case payment.Voided:
		w.tell(id, checkout.Voided{Reason: e.Reason})
	case payment.Refunded:
		w.tell(id, checkout.Refunded{Reason: e.Reason})
	}
}

func (w *world) onRequest(id string, event payment.Event) {
	if _, ok := event.(payment.Requested); !ok {
		return
	}
	switch w.verdict {
	case authorises:
		_ = execute(&w.payment, id, payment.Authorise{})
	case declines:
		_ = execute(&w.payment, id, payment.Decline{Reason: "no money"})
	}
}

// move is something that can happen in a world.
type move struct {
	name string
	do   func(*world)
}

// moves returns all that can happen next.
func (w *world) moves() (list []move) {
	for r := range readers {
		if w.waiting(r) > 0 {
			list = append(list, move{fmt.Sprintf("reader %d handles %d", r, w.at[r]), func(w *world) {
				w.handle(r, w.at[r])
				w.at[r]++
			}})
		}
		if w.replays > 0 && w.waiting(r) > 0 {
			list = append(list, move{fmt.Sprintf("reader %d dies over %d", r, w.at[r]), func(w *world) {
				before := w.checkout // is not told any more
				w.handle(r, w.at[r])
				w.checkout = before
				w.replays--
			}})
		}
		if w.replays > 0 {
			for i := range w.at[r] {
				list = append(list, move{fmt.Sprintf("reader %d handles %d again", r, i), func(w *world) {
					w.handle(r, i)
					w.replays--
				}})
			}
		}
	}
	return append(list, w.others()...)
}

// others returns what people and timers can do next, refused or not.
func (w *world) others() (list []move) {
	for _, other := range []struct {
		left int
		move move
	}{
		{w.cancels, move{"cancel", func(w *world) {
			w.cancels--
			_ = execute(&w.order, fmt.Sprint("cancel", w.cancels), order.Cancel{Reason: "changed my mind"})
		}}},
		{w.lines, move{"add a line", func(w *world) {
			w.lines--
			_ = execute(&w.order, fmt.Sprint("line", w.lines), order.AddLine{Item: chai})
		}}},
		{w.lines, move{"remove a line", func(w *world) {
			w.lines--
			_ = execute(&w.order, fmt.Sprint("line", w.lines), order.RemoveLine{Number: fold[order.Order](w.order).LastNumber})
		}}},
		{w.ships, move{"ship", func(w *world) {
			w.ships--
			_ = execute(&w.order, fmt.Sprint("ship", w.ships), order.Ship{})
		}}},
		{w.hands, move{"request by hand, another amount", func(w *world) {
			w.hands--
			if !fold[checkout.Checkout](w.checkout).Begun {
				return // it would not be told what became of that, and wait for the deadline
			}
			_ = execute(&w.payment, fmt.Sprint("request", w.hands), payment.Request{Amount: 1, Card: "tok-2"})
		}}},
		{w.hands, move{"void by hand", func(w *world) {
			w.hands--
			_ = execute(&w.payment, fmt.Sprint("void", w.hands), payment.Void{})
		}}},
		{w.hands, move{"capture by hand", func(w *world) {
			w.hands--
			_ = execute(&w.payment, fmt.Sprint("capture", w.hands), payment.Capture{})
		}}},
	} {
		if other.left > 0 {
			list = append(list, other.move)
		}
	}
	if w.timer && !fold[checkout.Checkout](w.checkout).Ended() {
		list = append(list, move{"the deadline is over", (*world).expire})
	}
	return list
}

func (w *world) expire() { w.tell("deadline", checkout.Expired{}) }

// settle lets everybody finish, and then the deadline be over.
func (w *world) settle() {
	for range 2 {
		for moved := true; moved; {
			moved = false
			for r := range readers {
				for w.waiting(r) > 0 {
					w.handle(r, w.at[r])
					w.at[r]++
					moved = true
				}
			}
		}
		if w.timer {
			w.expire()
		}
	}
}

// check checks what is true of a world at all times.
func (w *world) check(t *testing.T) error {
	t.Helper()
	var taken, back order.Money
	for _, e := range w.payment.events {
		switch e := e.(type) {
		case payment.Captured:
			taken += e.Amount
		case payment.Refunded:
			back += e.Amount
		}
	}
	o := fold[order.Order](w.order)
	if taken > 36_0000 || back > taken {
		return fmt.Errorf("taken %s, given back %s", taken, back)
	}
	if o.Shipped && taken-back != 36_0000 {
		return fmt.Errorf("shipped, and the shop has %s", taken-back)
	}
	seen := make(map[string]bool)
	for _, e := range w.checkout.events {
		if seen[e.EventType()] {
			return fmt.Errorf("%s twice", e.EventType())
		}
		seen[e.EventType()] = true
	}
	return nil
}

// checkEnd checks a world in which nothing is left to do.
func (w *world) checkEnd(t *testing.T) error {
	t.Helper()
	o, p, c := fold[order.Order](w.order), fold[payment.Payment](w.payment), fold[checkout.Checkout](w.checkout)
	_, net, _ := o.Amounts()
	switch o.Stage() {
	case order.StagePaid, order.StageShipped:
		if p.Held() != net || !c.Done || c.Failed {
			return fmt.Errorf("the order is %s and amounts to %s; the shop has %s; checkout %+v", o.Stage(), net, p.Held(), c)
		}
	case order.StageCancelled:
		if p.Held() != 0 || !c.Failed {
			return fmt.Errorf("the order is cancelled, the shop has %s; checkout %+v", p.Held(), c)
		}
	default:
		return fmt.Errorf("the order is %q", o.Stage())
	}
	if p.Authorised && !p.Captured && !p.Voided {
		return errors.New("the money on the card is held for ever")
	}
	if !c.Ended() {
		return fmt.Errorf("the checkout has no end: %+v", c)
	}
	return w.check(t)
}

// key tells worlds apart in which other things can happen. The events of a stream
// follow from the commands that it has applied.
func (w *world) key() string {
	return fmt.Sprint(w.order.applied, w.payment.applied, w.checkout.applied, w.at, w.timer, w.cancels, w.lines, w.ships, w.hands, w.replays)
}
