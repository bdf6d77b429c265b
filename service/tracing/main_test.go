package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/tracing"
	"github.com/headwater-go/headwater/testutil"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should never take long.
const patience = time.Minute

// A till and a vault are what the tests' commands are about. Both have money.
type moneyEvent interface {
	eventstore.Typed
	isMoneyEvent()
}

type Paid struct {
	Amount int
	By     string `json:",omitempty"`
}

func (Paid) EventType() string { return "till.paid" }
func (Paid) isMoneyEvent()     {}

type Stored struct{ Amount int }

func (Stored) EventType() string { return "vault.stored" }
func (Stored) isMoneyEvent()     {}

var codec = eventstore.JSON[moneyEvent](Paid{}, Stored{})

type Money struct{ Total int }

func (m Money) Evolve(e moneyEvent) Money {
	switch e := e.(type) {
	case Paid:
		m.Total += e.Amount
	case Stored:
		m.Total += e.Amount
	}
	return m
}

// Pay is rejected for an amount of 0, and fails in other ways below that.
type Pay Paid

func (Pay) RequestType() string { return "till.pay" }

var errNothing = errors.New("that is nothing, says anna.schmidt@example.org")

func (p Pay) Decide(Money) ([]moneyEvent, error) {
	switch p.Amount {
	case 0:
		return nil, errNothing
	case -1:
		panic(errNothing)
	}
	return []moneyEvent{Paid(p)}, nil
}

type Store struct{ Amount int }

func (Store) RequestType() string { return "vault.store" }

func (c Store) Decide(Money) ([]moneyEvent, error) { return []moneyEvent{Stored(c)}, nil }

// spans are what was recorded.
type spans struct{ *tracetest.InMemoryExporter }

func record(t *testing.T, opts ...sdk.TracerProviderOption) (*tracing.Tracer, spans) {
	t.Helper()
	s := spans{tracetest.NewInMemoryExporter()}
	provider := sdk.NewTracerProvider(append(opts, sdk.WithSyncer(s))...)
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tracing.New(provider), s
}

// one returns the only span of a name.
func (s spans) one(t *testing.T, name string) (span tracetest.SpanStub) {
	t.Helper()
	n := 0
	for _, one := range s.GetSpans() {
		if one.Name == name {
			span = one
			n++
		}
	}
	if n != 1 {
		t.Fatalf("there are %d spans %q in %s", n, name, s)
	}
	return span
}

func (s spans) String() (text string) {
	for _, one := range s.GetSpans() {
		text += fmt.Sprintf("\n%s of %s: %q %v %v %v", one.SpanContext.SpanID(), one.Parent.SpanID(), one.Name, one.SpanKind, one.Status, one.Attributes)
	}
	return text
}

// says returns an attribute of a span as text, "" if it is not there.
func says(span tracetest.SpanStub, key attribute.Key) string {
	for _, a := range span.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// traceParent is the span as headers have it.
func traceParent(c trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags())
}

// A process is a service of one kind of aggregates, on a log of its own.
type process struct {
	log    *eventstore.Store
	money  *aggregate.Repository[Money, moneyEvent]
	client *service.Client
}

var rules = map[string]error{"nothing": errNothing}

func run(t *testing.T, on testutil.Connector, tracer *tracing.Tracer, name, kind string, endpoint func(*aggregate.Repository[Money, moneyEvent]) service.Endpoint, more ...service.Endpoint) process {
	t.Helper()
	nc := testutil.Connect(t, on)
	log, err := eventstore.Open(t.Context(), nc, name+"-log", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := process{log: log, money: aggregate.NewRepository[Money](tracer.Store(log), kind, codec, nil)}
	r, err := service.Respond(t.Context(), nc, name, append(more, endpoint(p.money)), &service.RespondOptions{
		Around: []service.Around{tracer.Request}, Errors: rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if p.client, err = service.NewClient(testutil.Connect(t, on), name, &service.ClientOptions{Errors: rules}); err != nil {
		t.Fatal(err)
	}
	return p
}

func handlePay(money *aggregate.Repository[Money, moneyEvent]) service.Endpoint {
	return service.Handle[Pay](money, nil)
}

func handleStore(money *aggregate.Repository[Money, moneyEvent]) service.Endpoint {
	return service.Handle[Store](money, nil)
}

// project runs a projection until the test ends.
func project(t *testing.T, p interface{ Run(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, projection.ErrStopped) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// last returns the last commit of a stream.
func last(t *testing.T, log *eventstore.Store, kind, id string) (e eventstore.Event) {
	t.Helper()
	for one, err := range log.Read(t.Context(), eventstore.StreamID{Kind: kind, ID: id}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		e = one
	}
	return e
}

// eventually calls f until it returns nil, and fails after a while.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("gave up waiting: %v", err)
		}
	}
}
