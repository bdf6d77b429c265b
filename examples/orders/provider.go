package main

import (
	"context"
	"strings"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/examples/orders/payment"
	"github.com/headwater-go/headwater/projection"
)

// provider is a payment provider. It is asked at least once for each payment, and
// answers the same whenever it is asked for the same.
type provider interface {
	// authorise returns the command that is the answer, nil if there is none yet.
	authorise(ctx context.Context, id string, p payment.Requested) (aggregate.Command[payment.Payment, payment.Event], error)
}

// pretended is a provider that needs no network: the card says what it answers.
type pretended struct{}

func (pretended) authorise(_ context.Context, _ string, p payment.Requested) (aggregate.Command[payment.Payment, payment.Event], error) {
	switch {
	case strings.HasPrefix(p.Card, "declined"):
		return payment.Decline{Reason: "the card has not enough money"}, nil
	case strings.HasPrefix(p.Card, "silent"):
		return nil, nil
	}
	return payment.Authorise{}, nil
}

type payments = aggregate.Repository[payment.Payment, payment.Event]

// asking are the handlers that ask a provider for what is requested. An answer that
// comes too late is refused, which is all right.
func asking(p provider, payments *payments) effects {
	return projection.From(payment.Kind, payment.Codec,
		on(func(ctx context.Context, e payment.Requested, at projection.Event) error {
			answer, err := p.authorise(ctx, at.Stream.ID, e)
			if err != nil || answer == nil {
				return err
			}
			_, _, err = payments.Execute(ctx, at.Stream.ID, answer, &aggregate.ExecuteOptions{CommandID: at.CommandID("answer")})
			return accept(err)
		}),
	)
}
