package load_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/load"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"go.uber.org/goleak"
)

const patience = 2 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A shop is a service of orders, with payments that answer at once.
type shop struct {
	log    *eventstore.Store
	orders *aggregate.Repository[order.Order, order.Event]
	front  http.Handler
}

func newShop(t *testing.T) *shop {
	t.Helper()
	on := testutil.Server(t)
	s := &shop{log: testutil.Open(t, on, &eventstore.Options{Live: true})}
	s.orders = aggregate.NewRepository[order.Order](s.log, order.Kind, order.Codec, nil)
	responder, err := service.Respond(t.Context(), testutil.Connect(t, on), "shop", []service.Endpoint{
		service.Handle[order.Place](s.orders, nil),
		service.Handle[order.Cancel](s.orders, nil),
		service.Handle[order.Ship](s.orders, nil),
		service.Query(s.find, nil),
	}, &service.RespondOptions{Errors: order.Errors})
	if err != nil {
		t.Fatal(err)
	}
	client, err := service.NewClient(testutil.Connect(t, on), "shop", &service.ClientOptions{Errors: order.Errors})
	if err != nil {
		t.Fatal(err)
	}
	s.front = web.New(web.Config{Orders: client, Log: s.log, Conn: testutil.Connect(t, on)})
	ctx, cancel := context.WithCancel(context.Background())
	var paying sync.WaitGroup
	paying.Go(func() { s.pay(t, ctx) })
	t.Cleanup(func() {
		cancel()
		paying.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := responder.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *shop) find(ctx context.Context, q order.Find) (order.Summary, error) {
	o, at, err := s.orders.Load(ctx, q.ID)
	if err == nil && !o.Placed {
		err = service.ErrNotFound
	}
	return order.Summary{ID: q.ID, Customer: o.Customer, Stage: o.Stage(), Version: at.Version, Position: at.Position}, err
}

// pay pays orders with a good card, and cancels those whose card is declined.
func (s *shop) pay(t *testing.T, ctx context.Context) {
	for e, err := range s.log.Follow(ctx, 0, &eventstore.LogOptions{Types: []string{"order.placed"}}) {
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		event, err := order.Codec.Decode(e)
		if err != nil {
			t.Error(err)
			return
		}
		switch card, _, _ := strings.Cut(event.(order.Placed).Card, "-"); card {
		case "good":
			_, _, err = s.orders.Execute(ctx, e.Stream.ID, order.Pay{}, nil)
		case "declined":
			_, _, err = s.orders.Execute(ctx, e.Stream.ID, order.Cancel{Reason: "the card was declined"}, nil)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, order.ErrCancelled) {
			t.Error(err)
		}
	}
}

// serve returns the URL of a front that fails now and then, if it is not a good one:
// before or after a request was done.
func (s *shop) serve(t *testing.T, seed uint64, good bool) string {
	t.Helper()
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fate := random.IntN(100)
		mu.Unlock()
		switch {
		case good:
		case fate < 10:
			http.Error(w, "a proxy says this", http.StatusServiceUnavailable)
			return
		case fate < 20:
			panic(http.ErrAbortHandler)
		case fate < 30:
			s.front.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		s.front.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// states returns the orders in the log. An order of a customer, who has one, that is
// there twice is an error.
func (s *shop) states(t *testing.T) map[string]order.Order {
	t.Helper()
	states, of := map[string]order.Order{}, map[string]string{}
	for e, err := range s.log.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		event, err := order.Codec.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		id := e.Stream.ID
		if p, ok := event.(order.Placed); ok {
			if other, ok := of[p.Customer]; ok {
				t.Errorf("the order of %s is placed twice, as %s and %s", p.Customer, other, id)
			}
			of[p.Customer] = id
		}
		states[id] = states[id].Evolve(event)
	}
	return states
}

// check compares a report with the log.
func (s *shop) check(t *testing.T, report load.Report) {
	t.Helper()
	states := s.states(t)
	if len(states) != len(report.Orders) {
		t.Errorf("%d orders are in the log, %d in the report", len(states), len(report.Orders))
	}
	cancelled, shipped := 0, 0
	for _, o := range report.Orders {
		got := states[o.ID]
		if got.Customer != o.Customer || got.Card != o.Card {
			t.Errorf("order %+v is %+v", o, got)
		}
		if got.Stage() == order.StageShipped {
			shipped++
		}
		if got.Reason == "changed my mind" {
			cancelled++
		}
		if (got.Cancelled || got.Shipped) && o.Stage != got.Stage() && !strings.HasPrefix(o.Card, "declined") {
			t.Errorf("order %+v is %s", o, got.Stage())
		}
		if strings.HasPrefix(o.Card, "good") && !got.Cancelled && !got.Shipped {
			t.Errorf("order %+v is still %s", o, got.Stage())
		}
	}
	if cancelled != report.Cancelled || shipped != report.Shipped || cancelled == 0 || shipped == 0 {
		t.Errorf("%d are cancelled and %d shipped: %s", cancelled, shipped, report)
	}
}

// However often the fronts fail, each order is placed once, and the same load again is
// nothing new.
func TestFlakyFronts(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	config := load.Config{URLs: []string{s.serve(t, 1, false), s.serve(t, 2, false)}, Orders: 150, Clients: 16, Seed: 7}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := load.Run(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, report)
	if report.Retries == 0 || report.Refused == 0 || len(report.Orders)+report.Refused != config.Orders {
		t.Errorf("the report is %s", report)
	}
	if report.Min <= 0 || report.Min > report.Median || report.Median > report.P99 || report.P99 > report.Took {
		t.Errorf("the times are %+v", report)
	}
	before, err := s.log.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := load.Run(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, again)
	if after, err := s.log.Position(t.Context()); err != nil || after != before {
		t.Errorf("the log was at %d, and is at %d, %v", before, after, err)
	}
	config.Seed, config.Orders = 8, 10
	other, err := load.Run(ctx, config)
	if err != nil || len(s.states(t)) != len(report.Orders)+len(other.Orders) {
		t.Errorf("with another seed: %s, %v", other, err)
	}
}

// A front that is away from the beginning, and one that goes in the middle, cost
// nothing but retries.
func TestFrontsGo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	var count atomic.Int32
	gone := make(chan struct{})
	var leaving *httptest.Server
	leaving = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) == 20 {
			go func() {
				defer close(gone)
				leaving.CloseClientConnections()
				leaving.Close()
			}()
		}
		s.front.ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := load.Run(ctx, load.Config{URLs: []string{away.URL, leaving.URL, s.serve(t, 0, true)}, Orders: 60, Clients: 4})
	if err != nil {
		t.Fatal(err)
	}
	<-gone
	s.check(t, report)
}

// The end of the context is the end of the load. What was placed is in the report.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var requests atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 30 {
			cancel(enough)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		s.front.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	report, err := load.Run(ctx, load.Config{URLs: []string{front.URL}, Orders: 1000})
	if !errors.Is(err, enough) || len(report.Orders) == 0 || len(report.Orders) > 30 {
		t.Errorf("%d orders, %v", len(report.Orders), err)
	}
	states := s.states(t)
	for _, o := range report.Orders {
		if states[o.ID].Customer != o.Customer {
			t.Errorf("%+v is %+v", o, states[o.ID])
		}
	}
}

// A front that answers nonsense is not asked again.
func TestUnexpected(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(front.Close)
	report, err := load.Run(t.Context(), load.Config{URLs: []string{front.URL}})
	if err == nil || !strings.Contains(err.Error(), "POST /orders was answered with status 404") || len(report.Orders) > 0 {
		t.Errorf("%s, %v", report, err)
	}
}

// A good order that is refused is no load, but a failure: the front makes no sense of it.
func TestRefused(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"code":"no-lines"}`)
	}))
	t.Cleanup(front.Close)
	report, err := load.Run(t.Context(), load.Config{URLs: []string{front.URL}})
	if err == nil || !strings.Contains(err.Error(), "POST /orders was answered with status 422 no-lines") {
		t.Errorf("%s, %v", report, err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []load.Config{{}, {URLs: []string{"localhost:8080"}}, {URLs: []string{"ftp://x"}}, {URLs: []string{"http://x"}, Rate: -1}, {URLs: []string{"http://x"}, Orders: -1}} {
		if _, err := load.Run(t.Context(), c); err == nil {
			t.Errorf("%+v makes sense", c)
		}
	}
}

// Orders begin at the rate, whatever the clients could do.
func TestRate(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	report, err := load.Run(t.Context(), load.Config{URLs: []string{s.serve(t, 0, true)}, Orders: 10, Rate: 100, Patience: time.Millisecond})
	if err != nil || report.Took < 100*time.Millisecond {
		t.Errorf("%s, %v", report, err)
	}
}

func ExampleReport() {
	fmt.Println(load.Report{
		Orders: make([]load.Order, 97), Refused: 3, Cancelled: 14, Shipped: 61, Retries: 12,
		Min: 1200 * time.Microsecond, Median: 2 * time.Millisecond, P99: 31 * time.Millisecond, Took: 5 * time.Second,
	})
	// Output:
	// 97 orders placed, 3 refused, 14 cancelled, 61 shipped, 12 requests sent again
	// placing an order took 1.2ms at least, 2ms in the middle, 31ms for the slowest in a hundred
	// all took 5s: 19.4 orders a second
}
