// Package load places orders at fronts of the orders service, as many clients at once
// do, and reports what became of each.
//
//	report, err := load.Run(ctx, load.Config{URLs: []string{"http://localhost:8080"}, Orders: 1000, Clients: 32})
//	fmt.Println(report)
//
// What is placed follows from a seed. Most orders have a card that is good, and are
// shipped when they are paid; some have one that is declined or never answers, some
// are on account and shipped at once, some are cancelled, and a few are refused.
//
// Each request has an idempotency key, which follows from the seed too. While a front
// does not answer, or answers that it cannot, the request is sent again with its key,
// to the next front, until the context ends. So whatever happens to the fronts and to
// what is behind them, each order is placed once; and who runs the same load again
// gets the same orders.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what to place and where. The zero value of each field but URLs is its
// default.
type Config struct {
	// URLs are those of the fronts, such as "http://localhost:8080".
	URLs []string
	// Orders is how many to place; default 100.
	Orders int
	// Clients is how many orders are in hand at a time, from being placed to being
	// shipped; default 8.
	Clients int
	// Rate is how many orders are begun a second at most; default: as many as the
	// clients can.
	Rate float64
	// Seed is what everything follows from. Orders of another seed are others.
	Seed int64
	// Patience is how long an order is waited for to be paid; default 30 seconds.
	Patience time.Duration
	// Timeout is how long an answer is waited for before the request is sent again;
	// default 20 seconds.
	Timeout time.Duration
}

// Order is an order that was placed.
type Order struct {
	ID       string
	Customer string // of this order alone
	Card     string
	Stage    string // as it was seen last
}

// Report is what became of the orders.
type Report struct {
	Orders    []Order // that were placed, in the order of their numbers
	Refused   int     // orders that a rule refused, as it should
	Cancelled int     // by the load itself
	Shipped   int
	Retries   int // requests that were sent again

	// How long it took to place an order, with all retries.
	Min, Median, P99 time.Duration
	// How long all took.
	Took time.Duration
}

// String returns the report in a few lines.
func (r Report) String() string {
	rate := float64(len(r.Orders)) / max(r.Took.Seconds(), 1e-9)
	return fmt.Sprintf("%d orders placed, %d refused, %d cancelled, %d shipped, %d requests sent again\n"+
		"placing an order took %v at least, %v in the middle, %v for the slowest in a hundred\n"+
		"all took %v: %.1f orders a second",
		len(r.Orders), r.Refused, r.Cancelled, r.Shipped, r.Retries,
		r.Min.Round(10*time.Microsecond), r.Median.Round(10*time.Microsecond), r.P99.Round(10*time.Microsecond),
		r.Took.Round(time.Millisecond), rate)
}

// Run places the orders and returns when all are done.
//
// An error says that the configuration makes no sense, that a front answered what it
// should not, or that the context ended before all was done. The report then has what
// is known. An order whose request had no answer yet may be placed and not be in it.
func Run(ctx context.Context, c Config) (Report, error) {
	if err := c.check(); err != nil {
		return Report{}, err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = c.Clients
	defer transport.CloseIdleConnections()
	r := &run{Config: c, http: &http.Client{Transport: transport}, orders: make([]*outcome, c.Orders)}
	began := time.Now()
	r.all(ctx, fail)
	return r.report(time.Since(began)), context.Cause(ctx)
}

func (c *Config) check() error {
	if len(c.URLs) == 0 {
		return errors.New("there is no URL of a front")
	}
	c.URLs = slices.Clone(c.URLs)
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("%q is no URL of a front: it must be like http://localhost:8080", text)
		}
		c.URLs[i] = strings.TrimSuffix(text, "/")
	}
	if c.Orders < 0 || c.Clients < 0 || c.Rate < 0 {
		return errors.New("numbers of orders, clients and the rate must not be negative")
	}
	c.Orders, c.Clients = cmp.Or(c.Orders, 100), cmp.Or(c.Clients, 8)
	c.Patience, c.Timeout = cmp.Or(c.Patience, 30*time.Second), cmp.Or(c.Timeout, 20*time.Second)
	return nil
}

// run is a load that runs.
type run struct {
	Config
	http *http.Client

	mu      sync.Mutex
	orders  []*outcome // by number
	retries int
}

// outcome is what is known of an order.
type outcome struct {
	Order
	placed, refused, cancelled, shipped bool
	took                                time.Duration
}

// all has the clients place the orders, until one fails.
func (r *run) all(ctx context.Context, fail context.CancelCauseFunc) {
	numbers := make(chan int)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer close(numbers)
	for range min(r.Clients, r.Orders) {
		clients.Go(func() {
			for n := range numbers {
				if err := r.order(ctx, n); err != nil {
					fail(fmt.Errorf("order %d: %w", n, err))
				}
			}
		})
	}
	ticks, stop := r.pace()
	defer stop()
	for n := range r.Orders {
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
		select {
		case numbers <- n:
		case <-ctx.Done():
			return
		}
	}
}

// pace returns a channel from which comes when an order may begin.
func (r *run) pace() (ticks <-chan time.Time, stop func()) {
	if r.Rate == 0 {
		always := make(chan time.Time)
		close(always)
		return always, func() {}
	}
	ticker := time.NewTicker(max(time.Nanosecond, time.Duration(float64(time.Second)/r.Rate)))
	return ticker.C, ticker.Stop
}

func (r *run) report(took time.Duration) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := Report{Retries: r.retries, Took: took}
	var times []time.Duration
	for _, o := range r.orders {
		switch {
		case o == nil:
			continue
		case o.refused:
			report.Refused++
		case o.placed:
			report.Orders = append(report.Orders, o.Order)
			times = append(times, o.took)
		}
		report.Cancelled += count(o.cancelled)
		report.Shipped += count(o.shipped)
	}
	if len(times) > 0 {
		slices.Sort(times)
		report.Min, report.Median, report.P99 = times[0], times[len(times)/2], times[(len(times)*99+99)/100-1]
	}
	return report
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
