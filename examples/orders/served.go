package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// served is a service, and what measures it.
type served struct {
	*service.Service
	*serving
	metrics *metrics.Metrics
}

// start starts a service, with a folder of its own, and lets add add what it has. The
// figures of both services are told apart by a label.
func (s *serving) start(ctx context.Context, config service.Config, opts service.Options, add func(*served, context.Context) error) (*service.Service, error) {
	label := prometheus.Labels{"service": config.Service}
	m, err := metrics.New(prometheus.WrapRegistererWith(label, s.figures))
	if err != nil {
		return nil, err
	}
	config.DataDir = filepath.Join(config.DataDir, config.Service)
	opts.Logger, opts.OnConnection = s.log, m.Connection
	opts.Metrics = promhttp.HandlerFor(s.figures, promhttp.HandlerOpts{})
	opts.Log = &eventstore.Options{OnAppend: m.Append, Live: config.Service == ordersService} // for the page
	svc, err := service.Start(ctx, config, &opts)
	if err != nil {
		return nil, err
	}
	if err := add(&served{svc, s, m}, ctx); err != nil {
		return nil, errors.Join(err, svc.Stop(context.WithoutCancel(ctx)))
	}
	return svc, nil
}

// store returns the service's log with spans.
func (s *served) store() aggregate.Store { return s.tracer.Store(s.Log()) }

// manage runs a projection whose effects are commands. One order that cannot be
// handled holds up no others; those that wait for the other service, or for the
// server, hold up a worker.
func (s *served) manage(name string, log *eventstore.Store, model projection.Model[struct{}], handlers effects) error {
	do := s.tracer.Handle(name)
	if s.effect != nil {
		do = both(do, s.effect(name))
	}
	_, err := runs(s, name, log, projection.NewEffects(model), handlers, &projection.Options{
		Workers: 8, Poison: projection.Park, Around: do, Hooks: s.metrics.Hooks(),
	})
	return err
}

// both does one around the other.
func both(outer, inner around) around {
	return func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
		return outer(ctx, at, func(ctx context.Context) error { return inner(ctx, at, next) })
	}
}

// runs runs a projection in the background of a service.
func runs[T any](s *served, name string, log *eventstore.Store, model projection.Model[T], handlers projection.Handlers[T], opts *projection.Options) (*projection.Projection[T], error) {
	p, err := projection.New(name, log, model, handlers, opts)
	if err != nil {
		return nil, err
	}
	s.metrics.Projection(p)
	s.Project(p, nil)
	return p, nil
}

// respond begins to answer requests to the service. The responder is to be stopped.
func (s *served) respond(ctx context.Context, description string, rules map[string]error, endpoints ...service.Endpoint) (*service.Responder, error) {
	config := s.Config()
	return service.Respond(ctx, s.Conn(), config.Service, endpoints, &service.RespondOptions{
		Description: description, Errors: rules, InHand: config.MaxAckPending, Logger: s.Logger(),
		Around: []service.Around{s.tracer.Request}, OnAnswer: s.metrics.Answer,
	})
}
