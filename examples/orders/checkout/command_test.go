package checkout_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
)

type events = []checkout.Event

type decides = command[checkout.Checkout, checkout.Event]

var (
	noon   = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	begin  = checkout.Begin{Amount: 36_0000, Card: "tok-1", Deadline: noon}
	wanted = checkout.PaymentWanted{Amount: 36_0000, Card: "tok-1", Deadline: noon}

	capture = checkout.CaptureWanted{}
	taken   = checkout.MoneyTaken{Amount: 36_0000}
	pay     = checkout.OrderPayWanted{Amount: 36_0000}
	done    = checkout.Done{}
	closed  = checkout.OrderClosed{Reason: "the order was cancelled: moths"}
	void    = checkout.VoidWanted(closed)
	refund  = checkout.RefundWanted(closed)
	late    = checkout.CancelWanted{Reason: "the payment was not authorised in time"}
	kept    = checkout.OrderKept{}
	long    = "the order was cancelled: " + strings.Repeat("ж", 87) // of 200 bytes there are 175, and half a letter, for it
)

func failed(reason string) events { return events{checkout.Failed{Reason: reason}} }

// TestCommands has the ways that a checkout can go, each command after the events
// that the ones before it made. Commands that make none are those that come again, or
// too late.
func TestCommands(t *testing.T) {
	t.Parallel()
	authorised, captured, paid := checkout.Authorised{}, checkout.Captured{Amount: 36_0000}, checkout.OrderPaid{}
	cancelled, expired := checkout.OrderCancelled{Reason: "moths"}, checkout.Expired{}
	const noMoney = "the payment was declined: no money"

	type step struct {
		when decides
		then events
	}
	for _, test := range []struct {
		name string
		path []step
	}{
		{"all is well", []step{
			{begin, events{wanted}}, {begin, nil},
			{authorised, events{capture}}, {authorised, nil}, {expired, nil}, {begin, nil},
			{captured, events{taken, pay}}, {captured, nil}, {authorised, nil}, {expired, nil},
			{paid, events{done}}, {paid, nil}, {captured, nil}, {expired, nil}, {checkout.PayRefused{}, nil},
		}},
		{"nothing has begun", []step{
			{authorised, nil}, {captured, nil}, {paid, nil}, {expired, nil}, {cancelled, nil}, {checkout.Declined{}, nil},
			{checkout.Voided{}, nil}, {checkout.Refunded{}, nil}, {checkout.PaymentRefused{}, nil}, {checkout.PayRefused{}, nil},
			{checkout.CancelRefused{}, nil}, {begin, events{wanted}},
		}},
		{"declined", []step{
			{begin, events{wanted}},
			{checkout.Declined{Reason: "no money"}, events{checkout.MoneyFree{Reason: noMoney}, checkout.CancelWanted{Reason: noMoney}}},
			{checkout.Declined{}, nil}, {expired, nil}, {authorised, nil},
			{checkout.OrderCancelled{Reason: noMoney}, append(events{checkout.OrderClosed{Reason: "the order was cancelled: " + noMoney}}, failed(noMoney)...)},
			{cancelled, nil}, {expired, nil},
		}},
		{"the request is refused", []step{
			{begin, events{wanted}},
			{checkout.PaymentRefused{Reason: "no"}, events{checkout.MoneyFree{Reason: "the payment was refused: no"}, checkout.CancelWanted{Reason: "the payment was refused: no"}}},
			{checkout.PaymentRefused{Reason: "no"}, nil}, {authorised, nil}, {expired, nil},
			{cancelled, append(events{closed}, failed("the payment was refused: no")...)},
		}},
		{"the request is refused, for being asked again", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {checkout.PaymentRefused{}, nil},
		}},
		{"no answer in time", []step{
			{begin, events{wanted}}, {expired, events{late}}, {expired, nil},
			{cancelled, events{closed, checkout.VoidWanted(late)}}, {cancelled, nil},
			{checkout.Voided{}, append(events{checkout.MoneyFree{Reason: "the payment was voided"}}, failed(late.Reason)...)}, {checkout.Voided{}, nil},
		}},
		{"authorised too late", []step{
			{begin, events{wanted}}, {expired, events{late}}, {authorised, nil},
			{cancelled, events{closed, checkout.VoidWanted(late)}}, {authorised, nil},
		}},
		{"declined too late", []step{
			{begin, events{wanted}}, {expired, events{late}},
			{checkout.Declined{}, events{checkout.MoneyFree{Reason: "the payment was declined"}}},
			{cancelled, append(events{closed}, failed(late.Reason)...)},
		}},
		{"declined when it should be voided", []step{
			{begin, events{wanted}}, {cancelled, events{closed, void}},
			{checkout.Declined{}, append(events{checkout.MoneyFree{Reason: "the payment was declined"}}, failed(closed.Reason)...)},
		}},
		{"cancelled before an answer", []step{
			{begin, events{wanted}}, {cancelled, events{closed, void}}, {authorised, nil}, {expired, nil},
			{checkout.Voided{Reason: "moths"}, append(events{checkout.MoneyFree{Reason: "the payment was voided: moths"}}, failed(closed.Reason)...)},
		}},
		{"cancelled while it is captured", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {cancelled, events{closed}},
			{captured, events{taken, refund}}, {paid, nil}, {checkout.PayRefused{}, nil},
			{checkout.Refunded{}, append(events{checkout.MoneyFree{Reason: "the payment was refunded"}}, failed(closed.Reason)...)}, {checkout.Refunded{}, nil},
		}},
		{"cancelled while it is captured, which comes to nothing", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {cancelled, events{closed}},
			{checkout.Voided{}, append(events{checkout.MoneyFree{Reason: "the payment was voided"}}, failed(closed.Reason)...)},
		}},
		{"cancelled while it is paid", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}},
			{cancelled, events{closed, refund}}, {paid, nil}, {checkout.PayRefused{}, nil},
		}},
		{"cancelled, and the order says so first", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}},
			{checkout.PayRefused{Reason: "cancelled"}, events{checkout.CancelWanted{Reason: "the order did not take the payment: cancelled"}}},
			{cancelled, events{closed, checkout.RefundWanted{Reason: "the order did not take the payment: cancelled"}}},
		}},
		{"cancelled when it is paid", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}}, {paid, events{done}},
			{cancelled, events{closed, refund}}, {paid, nil},
			{checkout.Refunded{}, append(events{checkout.MoneyFree{Reason: "the payment was refunded"}}, failed(closed.Reason)...)},
		}},
		{"other lines meanwhile", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}},
			{checkout.PayRefused{}, events{checkout.CancelWanted{Reason: "the order did not take the payment"}}}, {checkout.PayRefused{}, nil},
			{cancelled, events{closed, checkout.RefundWanted{Reason: "the order did not take the payment"}}},
		}},
		{"paid after all", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}},
			{checkout.PayRefused{}, events{checkout.CancelWanted{Reason: "the order did not take the payment"}}},
			{checkout.CancelRefused{}, events{kept, done}}, {checkout.CancelRefused{}, nil}, {paid, nil},
		}},
		{"paid otherwise and shipped, before an answer", []step{
			{begin, events{wanted}}, {checkout.CancelRefused{}, nil}, {expired, events{late}},
			{checkout.CancelRefused{}, events{kept, checkout.VoidWanted(late)}}, {authorised, nil},
			{checkout.Voided{}, append(events{checkout.MoneyFree{Reason: "the payment was voided"}}, failed(late.Reason)...)},
		}},
		{"captured by hand", []step{
			{begin, events{wanted}}, {captured, events{taken, pay}}, {authorised, nil}, {paid, events{done}},
		}},
		{"another amount is captured", []step{
			{begin, events{wanted}}, {checkout.Captured{Amount: 1}, events{checkout.MoneyTaken{Amount: 1}, checkout.OrderPayWanted{Amount: 1}}},
		}},
		{"much to say", []step{
			{begin, events{wanted}},
			{checkout.OrderCancelled{Reason: strings.Repeat("ж", 1000)}, events{checkout.OrderClosed{Reason: long}, checkout.VoidWanted{Reason: long}}},
		}},
		{"captured by hand when it should be voided", []step{
			{begin, events{wanted}}, {cancelled, events{closed, void}}, {captured, events{taken, refund}},
		}},
		{"voided by hand", []step{
			{begin, events{wanted}}, {authorised, events{capture}},
			{checkout.Voided{Reason: "fraud"}, events{checkout.MoneyFree{Reason: "the payment was voided: fraud"}, checkout.CancelWanted{Reason: "the payment was voided: fraud"}}},
		}},
		{"refunded by hand", []step{
			{begin, events{wanted}}, {authorised, events{capture}}, {captured, events{taken, pay}}, {paid, events{done}},
			{checkout.Refunded{Reason: "fraud"}, events{checkout.MoneyFree{Reason: "the payment was refunded: fraud"}, checkout.CancelWanted{Reason: "the payment was refunded: fraud"}}},
			{checkout.CancelRefused{}, append(events{kept}, failed("the payment was refunded: fraud")...)},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var state checkout.Checkout
			for i, step := range test.path {
				got, err := step.when.Decide(state)
				if err != nil || !reflect.DeepEqual(got, step.then) {
					t.Fatalf("step %d, %T: %#v, %v, want %#v", i, step.when, got, err, step.then)
				}
				for _, e := range got {
					state = state.Evolve(e)
				}
			}
		})
	}
}

// The stored form of events. Logs hold it.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		event checkout.Event
		name  string
		json  string
	}{
		{wanted, "checkout.payment-wanted", `{"amount":"36.00","card":"tok-1","deadline":"2026-03-02T12:00:00Z"}`},
		{capture, "checkout.capture-wanted", `{}`},
		{pay, "checkout.order-pay-wanted", `{"amount":"36.00"}`},
		{checkout.CancelWanted{Reason: "late"}, "checkout.cancel-wanted", `{"reason":"late"}`},
		{checkout.VoidWanted{Reason: "late"}, "checkout.void-wanted", `{"reason":"late"}`},
		{checkout.RefundWanted{Reason: "late"}, "checkout.refund-wanted", `{"reason":"late"}`},
		{taken, "checkout.money-taken", `{"amount":"36.00"}`},
		{checkout.MoneyFree{Reason: "late"}, "checkout.money-free", `{"reason":"late"}`},
		{checkout.OrderClosed{Reason: "late"}, "checkout.order-closed", `{"reason":"late"}`},
		{kept, "checkout.order-kept", `{}`},
		{done, "checkout.done", `{}`},
		{checkout.Failed{Reason: "late"}, "checkout.failed", `{"reason":"late"}`},
	} {
		data, err := checkout.Codec.Encode(test.event)
		if err != nil || data.Type != test.name || string(data.Data) != test.json {
			t.Errorf("%v is stored as %s %s, %v; want %s %s", test.event, data.Type, data.Data, err, test.name, test.json)
		}
		back, err := checkout.Codec.Decode(eventstore.Event{EventData: data})
		if err != nil || !reflect.DeepEqual(back, test.event) {
			t.Errorf("%s is read as %v, %v", data.Data, back, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range (events{wanted, pay, late, done}) {
		data, err := checkout.Codec.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data.Type, data.Data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		event, err := checkout.Codec.Decode(eventstore.Event{EventData: eventstore.EventData{Type: name, Data: data}})
		if err != nil {
			return
		}
		// Whatever can be read can be folded, and is stored as it is.
		fold[checkout.Checkout](stream[checkout.Event]{events: events{event, event}})
		again, err := checkout.Codec.Encode(event)
		if err != nil {
			t.Skip(err) // a year that JSON cannot write
		}
		if back, err := checkout.Codec.Decode(eventstore.Event{EventData: again}); err != nil || !reflect.DeepEqual(back, event) {
			t.Errorf("%#v is read as %#v, %v", event, back, err)
		}
	})
}
