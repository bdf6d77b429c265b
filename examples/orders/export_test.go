package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/tracing"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	"go.opentelemetry.io/otel/trace"
)

// Main is the program.
var Main = main

// Run runs the program in this process and returns its exit status.
func Run(stdout, stderr io.Writer, args ...string) int {
	return run(args, console{stdout, stderr})
}

// Bar is the progress of an import on a terminal.
type Bar struct{ p *progress }

// NewBar returns a bar that has not been drawn.
func NewBar(w io.Writer, total int) Bar {
	p := newProgress(w, total)
	p.terminal = true
	return Bar{p}
}

func (b Bar) Show(done int) { b.p.show(done) }
func (b Bar) Clear()        { b.p.clear() }

// Batch is what two files say.
type Batch struct{ b *batch }

func ReadBatch(ordersFile, linesFile string) (Batch, error) {
	b, err := readBatch(ordersFile, linesFile)
	return Batch{b}, err
}

// Lines returns how many lines the orders have, those left out included.
func (b Batch) Lines() (n int) {
	for _, e := range b.b.entries {
		n += len(e.place.Lines)
	}
	return n
}

// Problems returns how many bad rows a file has.
func (b Batch) Problems(file string) (n int) {
	for _, p := range b.b.problems {
		if p.file == file {
			n++
		}
	}
	return n
}

// Refused returns why a rule would refuse an order that is to be written, nil
// if none would.
func (b Batch) Refused() error {
	for _, e := range b.b.good() {
		if _, err := e.place.Decide(order.Order{}); err != nil {
			return err
		}
	}
	return nil
}

// Projections calls f for each projection of the shop in a folder.
func Projections(ctx context.Context, dir string, f func(*projection.Projection[*bbolt.Bucket]) error) (err error) {
	m, closeAll, err := visitModels(ctx, dir, policy{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	for _, r := range readModels {
		if err := f(m.projections[r.name]); err != nil {
			return err
		}
	}
	return nil
}

// Around is what is done around an effect.
type Around = around

// Serving is how tests start both services of 'orders serve'.
type Serving struct {
	Deadline time.Duration
	Spans    trace.TracerProvider     // nil: none
	Effect   func(name string) Around // of a projection; nil: nothing is done around effects
}

// Start starts both services, on a server that is connected to by connect. Stopping the
// one that is returned stops both.
func (s Serving) Start(ctx context.Context, connect func(...nats.Option) (*nats.Conn, error), config service.Config) (*service.Service, error) {
	both := serving{
		deadline: s.Deadline, provider: pretended{}, log: slog.New(slog.DiscardHandler), out: io.Discard,
		figures: prometheus.NewRegistry(), tracer: tracing.New(s.Spans), effect: s.Effect,
	}
	return both.startBoth(ctx, config, service.Options{Connect: connect})
}
