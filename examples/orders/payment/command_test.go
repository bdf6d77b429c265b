package payment_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/payment"
)

var (
	request    = payment.Request{Amount: 36_0000, Card: "tok-1"}
	requested  = payment.Requested{Amount: 36_0000, Card: "tok-1"}
	authorised = payment.Authorised{}
	declined   = payment.Declined{Reason: "no money"}
	captured   = payment.Captured{Amount: 36_0000}
	voided     = payment.Voided{Reason: "late"}
	refunded   = payment.Refunded{Amount: 36_0000, Reason: "late"}
)

type events = []payment.Event

type command interface {
	Decide(payment.Payment) ([]payment.Event, error)
}

// Each command, after each history that there is.
func TestCommands(t *testing.T) {
	t.Parallel()
	authorise, decline, capture := payment.Authorise{}, payment.Decline{Reason: "no money"}, payment.Capture{}
	void, refund := payment.Void{Reason: "late"}, payment.Refund{Reason: "late"}

	for _, test := range []struct {
		name  string
		given events
		when  command
		then  events
		err   error
	}{
		{name: "request", when: request, then: events{requested}},
		{name: "request nothing", when: payment.Request{Card: "tok-1"}, err: payment.ErrAmount},
		{name: "request less than nothing", when: payment.Request{Amount: -1, Card: "tok-1"}, err: payment.ErrAmount},
		{name: "request without a card", when: payment.Request{Amount: 1}, err: payment.ErrNoCard},
		{name: "authorise nothing", when: authorise, err: payment.ErrNotRequested},
		{name: "decline nothing", when: decline, err: payment.ErrNotRequested},
		{name: "capture nothing", when: capture, err: payment.ErrNotRequested},
		{name: "void nothing", when: void, err: payment.ErrNotRequested},
		{name: "refund nothing", when: refund, err: payment.ErrNotRequested},

		{name: "request requested", given: events{requested}, when: request, err: payment.ErrRequested},
		{name: "authorise requested", given: events{requested}, when: authorise, then: events{authorised}},
		{name: "decline requested", given: events{requested}, when: decline, then: events{declined}},
		{name: "capture requested", given: events{requested}, when: capture, err: payment.ErrNotAuthorised},
		{name: "void requested", given: events{requested}, when: void, then: events{voided}},
		{name: "refund requested", given: events{requested}, when: refund, err: payment.ErrNotCaptured},

		{name: "request authorised", given: events{requested, authorised}, when: request, err: payment.ErrRequested},
		{name: "authorise authorised", given: events{requested, authorised}, when: authorise, err: payment.ErrAuthorised},
		{name: "decline authorised", given: events{requested, authorised}, when: decline, err: payment.ErrAuthorised},
		{name: "capture authorised", given: events{requested, authorised}, when: capture, then: events{captured}},
		{name: "void authorised", given: events{requested, authorised}, when: void, then: events{voided}},
		{name: "refund authorised", given: events{requested, authorised}, when: refund, err: payment.ErrNotCaptured},

		{name: "request declined", given: events{requested, declined}, when: request, err: payment.ErrRequested},
		{name: "authorise declined", given: events{requested, declined}, when: authorise, err: payment.ErrDeclined},
		{name: "decline declined", given: events{requested, declined}, when: decline, err: payment.ErrDeclined},
		{name: "capture declined", given: events{requested, declined}, when: capture, err: payment.ErrDeclined},
		{name: "void declined", given: events{requested, declined}, when: void, err: payment.ErrDeclined},
		{name: "refund declined", given: events{requested, declined}, when: refund, err: payment.ErrDeclined},

		{name: "request captured", given: events{requested, authorised, captured}, when: request, err: payment.ErrRequested},
		{name: "authorise captured", given: events{requested, authorised, captured}, when: authorise, err: payment.ErrAuthorised},
		{name: "decline captured", given: events{requested, authorised, captured}, when: decline, err: payment.ErrAuthorised},
		{name: "capture captured", given: events{requested, authorised, captured}, when: capture, err: payment.ErrCaptured},
		{name: "void captured", given: events{requested, authorised, captured}, when: void, err: payment.ErrCaptured},
		{name: "refund captured", given: events{requested, authorised, captured}, when: refund, then: events{refunded}},

		{name: "request voided", given: events{requested, voided}, when: request, err: payment.ErrRequested},
		{name: "authorise voided", given: events{requested, voided}, when: authorise, err: payment.ErrVoided},
		{name: "decline voided", given: events{requested, voided}, when: decline, err: payment.ErrVoided},
		{name: "capture voided", given: events{requested, voided}, when: capture, err: payment.ErrVoided},
		{name: "capture authorised and voided", given: events{requested, authorised, voided}, when: capture, err: payment.ErrVoided},
		{name: "void voided", given: events{requested, voided}, when: void, err: payment.ErrVoided},
		{name: "refund voided", given: events{requested, authorised, voided}, when: refund, err: payment.ErrVoided},

		{name: "request refunded", given: events{requested, authorised, captured, refunded}, when: request, err: payment.ErrRequested},
		{name: "authorise refunded", given: events{requested, authorised, captured, refunded}, when: authorise, err: payment.ErrRefunded},
		{name: "decline refunded", given: events{requested, authorised, captured, refunded}, when: decline, err: payment.ErrRefunded},
		{name: "capture refunded", given: events{requested, authorised, captured, refunded}, when: capture, err: payment.ErrRefunded},
		{name: "void refunded", given: events{requested, authorised, captured, refunded}, when: void, err: payment.ErrRefunded},
		{name: "refund refunded", given: events{requested, authorised, captured, refunded}, when: refund, err: payment.ErrRefunded},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.when.Decide(fold(test.given))
			if !errors.Is(err, test.err) || test.err == nil && err != nil {
				t.Errorf("error: %v, want %v", err, test.err)
			}
			if !reflect.DeepEqual(got, test.then) {
				t.Errorf("events: %v, want %v", got, test.then)
			}
		})
	}
}

func fold(given events) (p payment.Payment) {
	for _, e := range given {
		p = p.Evolve(e)
	}
	return p
}

// TestMoneyIsConserved sends commands at random, most of which are refused, and
// counts the money that moves.
func TestMoneyIsConserved(t *testing.T) {
	t.Parallel()
	all := []command{request, payment.Request{Amount: 1, Card: "tok-2"}, payment.Authorise{}, payment.Decline{},
		payment.Capture{}, payment.Void{}, payment.Refund{}}
	rng := rand.New(rand.NewPCG(1, 2))
	kept, returned := 0, 0
	for range 2000 {
		var p payment.Payment
		var taken, back order.Money
		for range 20 {
			events, err := all[rng.IntN(len(all))].Decide(p)
			if err != nil && len(events) > 0 {
				t.Fatalf("refused with %v, and with %v", err, events)
			}
			for _, e := range events {
				p = p.Evolve(e)
				switch e := e.(type) {
				case payment.Captured:
					taken += e.Amount
				case payment.Refunded:
					back += e.Amount
				}
			}
			if taken > p.Amount || back > taken || taken-back != p.Held() || (p.Voided || p.Declined) && taken > 0 {
				t.Fatalf("taken %s, given back %s of %+v", taken, back, p)
			}
		}
		if p.Held() > 0 {
			kept++
		}
		if p.Refunded {
			returned++
		}
	}
	if kept == 0 || returned == 0 {
		t.Errorf("%d payments were kept, %d refunded", kept, returned)
	}
}
