package main

import (
	"context"
	"path/filepath"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/timer"
)

// startOrders starts the orders service: it answers commands and queries, and leads
// orders to their payment.
func (s *serving) startOrders(ctx context.Context, config service.Config, opts service.Options) (*service.Service, error) {
	config.Service, config.Log = ordersService, ordersLog
	opts.Log = &eventstore.Options{Live: true} // for the page
	return s.start(ctx, config, opts, s.addOrders)
}

func (s *serving) addOrders(ctx context.Context, svc *service.Service) error {
	orders := aggregate.NewRepository[order.Order](svc.Log(), order.Kind, order.Codec, nil)
	if err := s.manage(ctx, svc, orders); err != nil {
		return err
	}
	b, err := openBoard(svc, orders)
	if err != nil {
		return err
	}
	return answer(ctx, svc, b)
}

// manage adds the process manager. What it has handled is noted in a bucket that all
// processes of the service share, so that one of them does it.
func (s *serving) manage(ctx context.Context, svc *service.Service, orders *orders) error {
	config := svc.Config()
	theirs, err := eventstore.Open(ctx, svc.Conn(), paymentsLog, &eventstore.Options{Replicas: config.Replicas, AckWait: config.AckWait})
	if err != nil {
		return err
	}
	bucket, err := projection.OpenKV(ctx, svc.Conn(), ordersService+"-effects", &projection.KVOptions{Replicas: config.Replicas})
	if err != nil {
		return err
	}
	m := &manager{
		orders:    orders,
		checkouts: aggregate.NewRepository[checkout.Checkout](svc.Log(), checkout.Kind, checkout.Codec, nil),
		deadline:  s.deadline,
	}
	if m.payments, err = service.NewClient(svc.Conn(), paymentsService, &service.ClientOptions{Errors: payment.Errors}); err != nil {
		return err
	}
	if m.timers, err = timer.Open(ctx, svc.Conn(), ordersService, &timer.Options{Replicas: config.Replicas, Logger: svc.Logger()}); err != nil {
		return err
	}
	for _, p := range []struct {
		name     string
		log      *eventstore.Store
		handlers effects
	}{
		{"checkout", svc.Log(), m.inOrders()},
		{"to-payments", svc.Log(), m.toPayments()},
		{"from-payments", theirs, m.fromPayments()},
	} {
		projects, err := projection.New(p.name, p.log, projection.NewEffects(bucket), p.handlers, managing())
		if err != nil {
			return err
		}
		svc.Project(projects, nil)
	}
	svc.Go("deadlines", func(ctx context.Context) error { return m.timers.Run(ctx, m.expired) }, nil)
	return nil
}

// openBoard adds the read model of this process.
func openBoard(svc *service.Service, orders *orders) (*board, error) {
	file, err := projection.OpenFile(filepath.Join(svc.Config().DataDir, "read-models"))
	if err != nil {
		return nil, err
	}
	svc.OnClose(func(context.Context) error { return file.Close() })
	list, err := projection.New("orders", svc.Log(), file, listed(), &projection.Options{Poison: projection.Park})
	if err != nil {
		return nil, err
	}
	svc.Project(list, nil)
	return &board{log: svc.Log(), orders: orders, file: file, list: list}, nil
}

// answer begins to answer commands and queries.
func answer(ctx context.Context, svc *service.Service, b *board) error {
	config := svc.Config()
	responder, err := service.Respond(ctx, svc.Conn(), config.Service, []service.Endpoint{
		service.Handle[order.Place](b.orders, nil),
		service.Handle[order.Ship](b.orders, nil),
		service.Handle[order.Cancel](b.orders, nil),
		service.Query(b.find, &service.QueryOptions{Wait: noWait}),
		service.Query(b.listOrders, &service.QueryOptions{Wait: b.list.Wait}),
	}, &service.RespondOptions{
		Description: "Orders", Errors: order.Errors, InHand: config.MaxAckPending, Logger: svc.Logger(),
	})
	if err != nil {
		return err
	}
	svc.OnStop(responder.Stop)
	return nil
}

// noWait is for a query that is answered from the log, which has every commit.
func noWait(context.Context, eventstore.Revision) error { return nil }
