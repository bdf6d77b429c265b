package load

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/examples/orders/order"
)

// line is a line of an order, as the API takes it.
type line struct {
	Product   string         `json:"product"`
	UnitPrice order.Money    `json:"unitPrice"`
	Quantity  int64          `json:"quantity"`
	Discount  order.Discount `json:"discount,omitzero"`
}

// plan is what is to become of an order.
type plan struct {
	Customer  string `json:"customer"`
	OnAccount bool   `json:"onAccount,omitempty"`
	Card      string `json:"card,omitempty"`
	Lines     []line `json:"lines"`

	bad    bool // it is to be refused
	cancel bool
}

var products = []string{"Chai", "Chang", "Tofu", "Ikura", "Konbu", "Pavlova", "Geitost"}

// plan returns what the order of a number is.
func (c Config) plan(n int) (p plan) {
	random := rand.New(rand.NewPCG(uint64(c.Seed), uint64(n)))
	p.Customer = fmt.Sprintf("load-%d-%d", c.Seed, n)
	for range 1 + random.IntN(3) {
		p.Lines = append(p.Lines, line{
			Product: products[random.IntN(len(products))], UnitPrice: order.Money(50+random.IntN(9950)) * order.Cent,
			Quantity: 1 + random.Int64N(20), Discount: order.Discount(5 * random.IntN(4)),
		})
	}
	switch in100 := random.IntN(100); {
	case in100 < 70:
		p.Card = fmt.Sprintf("good-%d", n)
	case in100 < 82:
		p.Card = fmt.Sprintf("declined-%d", n)
	case in100 < 88:
		p.Card = fmt.Sprintf("silent-%d", n)
	case in100 < 97:
		p.OnAccount = true
	default:
		p.bad, p.Lines[0].Quantity = true, 0
	}
	p.cancel = random.IntN(100) < 15
	return p
}

// key returns the idempotency key of a step of an order.
func (c Config) key(n int, step string) string {
	return uuid.NewSHA1(keys, fmt.Appendf(nil, "%d/%d/%s", c.Seed, n, step)).String()
}

var keys = uuid.MustParse("5f0d5b0e-6a51-49a2-8f6e-1d6a8a1b7c10")

// order leads the order of a number from being placed to its end.
func (r *run) order(ctx context.Context, n int) error {
	p := r.plan(n)
	o := outcome{Order: Order{Customer: p.Customer, Card: p.Card}}
	q := request{method: http.MethodPost, path: "/orders", body: p, key: r.key(n, "place")}
	began := time.Now()
	a, err := r.send(ctx, q)
	if err != nil {
		return err
	}
	switch {
	case a.status == http.StatusCreated && !p.bad:
		o.placed, o.took, o.ID, o.Stage = true, time.Since(began), a.order.ID, a.order.Stage
	case a.status == http.StatusUnprocessableEntity && p.bad:
		o.refused = true
	default:
		return a.unexpected(q)
	}
	r.note(n, o, a)
	if o.refused {
		return nil
	}
	switch {
	case p.cancel:
		a, o.cancelled, err = r.change(ctx, a, "cancel", map[string]string{"reason": "changed my mind"}, r.key(n, "cancel"))
	case p.OnAccount:
		a, o.shipped, err = r.change(ctx, a, "ship", struct{}{}, r.key(n, "ship"))
	case p.Card == fmt.Sprintf("good-%d", n):
		a, err = r.awaitPayment(ctx, a)
		paid := a.order.Stage == order.StagePaid || a.order.Stage == order.StageShipped // the latter by the same load before
		if err == nil && paid {
			a, o.shipped, err = r.change(ctx, a, "ship", struct{}{}, r.key(n, "ship"))
		}
	}
	r.note(n, o, a)
	return err
}

// note keeps what is known of an order.
func (r *run) note(n int, o outcome, seen answer) {
	o.Stage = cmp.Or(seen.order.Stage, o.Stage)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders[n] = &o
}

// change changes the order that was seen, and looks again where it is another one by
// now. It reports whether it did.
func (r *run) change(ctx context.Context, seen answer, what string, body any, key string) (answer, bool, error) {
	path := "/orders/" + url.PathEscape(seen.order.ID)
	for {
		q := request{method: http.MethodPost, path: path + "/" + what, body: body, key: key, version: seen.tag}
		a, err := r.send(ctx, q)
		if err != nil {
			return seen, false, err
		}
		switch a.status {
		case http.StatusOK:
			return a, true, nil
		case http.StatusConflict: // a rule is against it
			return seen, false, nil
		case http.StatusPreconditionFailed:
		default:
			return seen, false, a.unexpected(q)
		}
		if seen, err = r.look(ctx, path); err != nil {
			return seen, false, err
		}
	}
}

// look returns an order as it is.
func (r *run) look(ctx context.Context, path string) (answer, error) {
	q := request{method: http.MethodGet, path: path}
	a, err := r.send(ctx, q)
	if err == nil && a.status != http.StatusOK {
		err = a.unexpected(q)
	}
	return a, err
}

// awaitPayment waits until an order is paid, or not any more to be.
func (r *run) awaitPayment(ctx context.Context, a answer) (answer, error) {
	path := "/orders/" + url.PathEscape(a.order.ID)
	for attempt, began := 0, time.Now(); a.order.Stage == order.StagePlaced && time.Since(began) < r.Patience; attempt++ {
		err := wait(ctx, attempt)
		if err == nil {
			a, err = r.look(ctx, path)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}
