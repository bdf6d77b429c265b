package main

import (
	"context"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// startPayments starts the payments service: it answers commands, and asks the
// provider.
func (s *serving) startPayments(ctx context.Context, config service.Config, opts service.Options) (*service.Service, error) {
	config.Service, config.Log = paymentsService, paymentsLog
	return s.start(ctx, config, opts, (*served).addPayments)
}

func (s *served) addPayments(ctx context.Context) error {
	payments := aggregate.NewRepository[payment.Payment](s.store(), payment.Kind, payment.Codec, nil)
	s.metrics.Repository(payment.Kind, payments.Stats)
	bucket, err := projection.OpenKV(ctx, s.Conn(), paymentsService+"-effects", &projection.KVOptions{Replicas: s.Config().Replicas})
	if err != nil {
		return err
	}
	if err := s.manage("provider", s.Log(), bucket, asking(s.provider, payments)); err != nil {
		return err
	}
	responder, err := s.respond(ctx, "Payments of orders", payment.Errors,
		service.Handle[payment.Request](payments, nil),
		service.Handle[payment.Capture](payments, nil),
		service.Handle[payment.Void](payments, nil),
		service.Handle[payment.Refund](payments, nil),
	)
	if err != nil {
		return err
	}
	s.OnStop(responder.Stop)
	return nil
}
