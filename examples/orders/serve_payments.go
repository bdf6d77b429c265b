package main

import (
	"context"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// managing are the options of projections whose effects are commands. One order that
// cannot be handled holds up no others; those that wait for the other service, or for
// the server, hold up a worker.
func managing() *projection.Options {
	return &projection.Options{Workers: 8, Poison: projection.Park}
}

// startPayments starts the payments service: it answers commands, and asks the
// provider.
func (s *serving) startPayments(ctx context.Context, config service.Config, opts service.Options) (*service.Service, error) {
	config.Service, config.Log = paymentsService, paymentsLog
	return s.start(ctx, config, opts, s.addPayments)
}

func (s *serving) addPayments(ctx context.Context, svc *service.Service) error {
	config := svc.Config()
	payments := aggregate.NewRepository[payment.Payment](svc.Log(), payment.Kind, payment.Codec, nil)
	bucket, err := projection.OpenKV(ctx, svc.Conn(), paymentsService+"-effects", &projection.KVOptions{Replicas: config.Replicas})
	if err != nil {
		return err
	}
	asks, err := projection.New("provider", svc.Log(), projection.NewEffects(bucket), asking(s.provider, payments), managing())
	if err != nil {
		return err
	}
	responder, err := service.Respond(ctx, svc.Conn(), config.Service, []service.Endpoint{
		service.Handle[payment.Request](payments, nil),
		service.Handle[payment.Capture](payments, nil),
		service.Handle[payment.Void](payments, nil),
		service.Handle[payment.Refund](payments, nil),
	}, &service.RespondOptions{
		Description: "Payments of orders", Errors: payment.Errors, InHand: config.MaxAckPending, Logger: svc.Logger(),
	})
	if err != nil {
		return err
	}
	svc.OnStop(responder.Stop)
	svc.Project(asks, nil)
	return nil
}
