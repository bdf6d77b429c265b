package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/examples/orders/web"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/timer"
)

// startOrders starts the orders service: it answers commands and queries, and leads
// orders to their payment.
func (s *serving) startOrders(ctx context.Context, config service.Config, opts service.Options) (*service.Service, error) {
	config.Service, config.Log = ordersService, ordersLog
	return s.start(ctx, config, opts, (*served).addOrders)
}

func (s *served) addOrders(ctx context.Context) error {
	orders := aggregate.NewRepository[order.Order](s.store(), order.Kind, order.Codec, nil)
	s.metrics.Repository(order.Kind, orders.Stats)
	if err := s.addManager(ctx, orders); err != nil {
		return err
	}
	b, err := s.addBoard(orders)
	if err != nil {
		return err
	}
	responder, err := s.respond(ctx, "Orders", order.Errors,
		service.Handle[order.Place](orders, nil),
		service.Handle[order.Ship](orders, nil),
		service.Handle[order.Cancel](orders, nil),
		service.Query(b.find, &service.QueryOptions{Wait: noWait}),
		service.Query(b.listOrders, &service.QueryOptions{Wait: b.list.Wait}),
	)
	if err != nil {
		return err
	}
	stopPage, err := s.addPage()
	// The page asks the responder, which therefore stops after it.
	s.OnStop(func(ctx context.Context) error { return errors.Join(stopPage(ctx), responder.Stop(ctx)) })
	return err
}

// noWait is for a query that is answered from the log, which has every commit.
func noWait(context.Context, eventstore.Revision) error { return nil }

// addManager adds the process manager. What it has handled is noted in a bucket that
// all processes of the service share, so that one of them does it.
func (s *served) addManager(ctx context.Context, orders *orders) error {
	replicas := s.Config().Replicas
	theirs, err := eventstore.Open(ctx, s.Conn(), paymentsLog, &eventstore.Options{Replicas: replicas, AckWait: s.Config().AckWait})
	if err != nil {
		return err
	}
	bucket, err := projection.OpenKV(ctx, s.Conn(), ordersService+"-effects", &projection.KVOptions{Replicas: replicas})
	if err != nil {
		return err
	}
	timers, err := timer.Open(ctx, s.Conn(), ordersService, &timer.Options{Replicas: replicas, Logger: s.Logger()})
	if err != nil {
		return err
	}
	client, err := service.NewClient(s.Conn(), paymentsService, &service.ClientOptions{Errors: payment.Errors})
	if err != nil {
		return err
	}
	checkouts := aggregate.NewRepository[checkout.Checkout](s.store(), checkout.Kind, checkout.Codec, nil)
	s.metrics.Repository(checkout.Kind, checkouts.Stats)
	m := &manager{orders: orders, checkouts: checkouts, payments: client, timers: timers, deadline: s.deadline}
	s.Go("deadlines", func(ctx context.Context) error { return timers.Run(ctx, m.expired) }, nil)
	return errors.Join(
		s.manage("checkout", s.Log(), bucket, m.inOrders()),
		s.manage("to-payments", s.Log(), bucket, m.toPayments()),
		s.manage("from-payments", theirs, bucket, m.fromPayments()),
	)
}

// addBoard adds the read model of this process.
func (s *served) addBoard(orders *orders) (*board, error) {
	file, err := projection.OpenFile(filepath.Join(s.Config().DataDir, "read-models"))
	if err != nil {
		return nil, err
	}
	s.OnClose(func(context.Context) error { return file.Close() })
	list, err := runs(s, "orders", s.Log(), file, listed(), &projection.Options{Poison: projection.Park, Hooks: s.metrics.Hooks()})
	if err != nil {
		return nil, err
	}
	return &board{log: s.Log(), orders: orders, file: file, list: list}, nil
}

// addPage adds the page and the HTTP API, if there is an address for them, and returns
// what stops it.
func (s *served) addPage() (stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	if s.http == "" {
		return stop, nil
	}
	client, err := service.NewClient(s.Conn(), ordersService, &service.ClientOptions{Errors: order.Errors})
	if err != nil {
		return stop, err
	}
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return stop, err
	}
	front := web.New(web.Config{Orders: client, Log: s.Log(), Conn: s.Conn(), Logger: s.Logger()})
	server := web.Server(front)
	server.Handler = s.tracer.HTTP(server.Handler)
	s.page = listener.Addr().String()
	s.Go("page", func(context.Context) error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, nil)
	return server.Shutdown, nil
}
