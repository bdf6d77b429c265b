package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/tracing"
	"github.com/prometheus/client_golang/prometheus"
)

const serveUsage = `Answer commands and queries over NATS, until Ctrl-C or SIGTERM.

Usage: orders serve [orders|payments] [-http ADDRESS] [-deadline DURATION] [-spans]

There are two services, which talk only through events and commands. An order that is
placed with a card is paid by it, or cancelled if the payment is declined or not
authorised before the deadline. What is paid and cancelled is refunded. The payment
provider is pretended: a card "declined…" is declined, one "silent…" never answered,
and any other authorised.

Without a name both run in this process, which needs nothing but a folder. With a
name one does, on the NATS servers of NATS_SERVERS, and as many processes of each as
wanted can run at the same time.

The environment says the rest:

    NATS_SERVERS          URLs of NATS servers, separated by commas; NATS_USER,
                          NATS_PASSWORD, NATS_CREDS, NATS_CA and so on as the nats
                          tool has them; without, a server is embedded
    HEADWATER_DATA        folder, of each process its own (default orders-served)
    HEADWATER_INSTANCE    what tells processes apart (default the host's name)
    HEADWATER_REPLICAS    on how many nodes what is new is stored (default 1)
    HEADWATER_HEALTH      host:port for /health/live, /health/ready and /metrics

Examples:

    HEADWATER_HEALTH=localhost:8081 go run ./examples/orders serve -http localhost:8080
    NATS_SERVERS=nats://localhost:4222 go run ./examples/orders serve payments
    NATS_SERVERS=nats://localhost:4222 go run ./examples/orders serve orders -http :8080
`

// The names of the services and of their logs. Each service knows the other by them.
// A log has another name than a service, since the subjects of a service's queries are
// among those of a log of its name.
const (
	ordersService   = "orders"
	ordersLog       = "orders-log"
	paymentsService = "payments"
	paymentsLog     = "payments-log"
)

// defaultServed is the folder of the services where none is given. The commands that
// look at a folder have another: theirs has another log.
const defaultServed = "orders-served"

// startTime is how long the services may take to start, and wait for the servers.
const startTime = 5 * time.Minute

// serving is what the services are told on the command line.
type serving struct {
	http     string
	page     string // the address of the page, when it is served
	deadline time.Duration
	provider provider
	log      *slog.Logger
	out      io.Writer            // for whoever started it
	figures  *prometheus.Registry // of both services
	tracer   *tracing.Tracer
	effect   func(projection string) around // nil: nothing is done around effects
}

// around is what is done around the handling of an event, as projection.Options say.
type around = func(ctx context.Context, at projection.Event, next func(context.Context) error) error

func serve(ctx context.Context, c console, args []string) error {
	s := serving{
		provider: pretended{}, log: slog.New(slog.NewTextHandler(c.err, nil)), out: c.out,
		figures: prometheus.NewRegistry(), tracer: tracing.New(nil),
	}
	which := ""
	if len(args) > 0 && (args[0] == ordersService || args[0] == paymentsService) {
		which, args = args[0], args[1:]
	}
	fs := newFlags("serve", serveUsage)
	fs.StringVar(&s.http, "http", "", "the `address` of the page and the HTTP API (default none)")
	spans := fs.Bool("spans", false, "log what each request leads to, as the spans of traces")
	fs.DurationVar(&s.deadline, "deadline", 30*time.Second, "how `long` after it is placed an order's payment may be authorised")
	if _, err := parseFlags(fs, c, args); err != nil {
		return helped(err)
	}
	if *spans {
		s.tracer = tracing.New(spansTo(s.log))
	}
	if s.deadline <= 0 {
		return wrongUsage(fs, "the deadline must be more than nothing")
	}
	config, err := service.FromEnv()
	config.DataDir = cmp.Or(config.DataDir, defaultServed)
	switch {
	case err != nil:
		return err
	case which == "":
		return s.both(ctx, config)
	case len(config.Servers) == 0:
		return wrongUsage(fs, "a service alone needs NATS_SERVERS: the other one is in another process")
	case which == paymentsService && s.http != "":
		return wrongUsage(fs, "the payments have no page: -http is for the orders")
	}
	return s.one(ctx, config, which)
}

// one runs one of the services.
func (s *serving) one(ctx context.Context, config service.Config, which string) error {
	start := map[string]func(context.Context, service.Config, service.Options) (*service.Service, error){
		ordersService: s.startOrders, paymentsService: s.startPayments,
	}[which]
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	svc, err := start(starting, config, service.Options{})
	if err != nil {
		return err
	}
	s.announce(svc, which)
	return svc.Run(ctx)
}

// announce says what is there.
func (s *serving) announce(svc *service.Service, what string) {
	fmt.Fprintf(s.out, "serving %s\n", what)
	if s.page != "" {
		fmt.Fprintf(s.out, "page    http://%s/\n", s.page)
	}
	if address := svc.HealthAddress(); address != "" {
		fmt.Fprintf(s.out, "health  http://%[1]s/health/ready\nfigures http://%[1]s/metrics\n", address)
	}
}

// both runs both services, on the servers that the environment names or on one of
// their own.
func (s *serving) both(ctx context.Context, config service.Config) (err error) {
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var connect service.Options
	if len(config.Servers) == 0 {
		server, err := embedded.Start(starting, filepath.Join(config.DataDir, "nats"), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		connect.Connect = server.Connect
	}
	svc, err := s.startBoth(starting, config, connect)
	if err != nil {
		return err
	}
	s.announce(svc, ordersService+" and "+paymentsService)
	return svc.Run(ctx)
}

// startBoth starts both services. That of the orders is the process: it has the health
// endpoints and gets the signals, and the payments are a part of it, which stops after
// all others. So what is asked of the payments until then is answered.
func (s *serving) startBoth(ctx context.Context, config service.Config, opts service.Options) (*service.Service, error) {
	quiet := config
	quiet.HealthAddress = ""
	payments, err := s.startPayments(ctx, quiet, opts)
	if err != nil {
		return nil, err
	}
	orders, err := s.startOrders(ctx, config, opts)
	if err != nil {
		return nil, errors.Join(err, payments.Stop(context.WithoutCancel(ctx)))
	}
	orders.Go(paymentsService, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	}, &service.GoOptions{Ready: func(ctx context.Context) error { return unready(payments.Ready(ctx)) }})
	orders.OnClose(payments.Stop)
	return orders, nil
}

// unready returns why a service is not ready that is run as a part of another.
func unready(h service.Health) error {
	for _, p := range h.Parts {
		if !p.Ready && p.Part != "service" {
			return fmt.Errorf("%s: %s", p.Part, p.Reason)
		}
	}
	return nil
}
