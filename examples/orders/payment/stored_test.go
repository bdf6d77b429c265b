package payment_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/payment"
)

// The stored form of events. Logs hold it.
func TestStoredForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		event payment.Event
		name  string
		json  string
	}{
		{requested, "payment.requested", `{"amount":"36.00","card":"tok-1"}`},
		{authorised, "payment.authorised", `{}`},
		{declined, "payment.declined", `{"reason":"no money"}`},
		{captured, "payment.captured", `{"amount":"36.00"}`},
		{voided, "payment.voided", `{"reason":"late"}`},
		{payment.Voided{}, "payment.voided", `{}`},
		{refunded, "payment.refunded", `{"amount":"36.00","reason":"late"}`},
	} {
		data, err := payment.Codec.Encode(test.event)
		if err != nil || data.Type != test.name || string(data.Data) != test.json {
			t.Errorf("%v is stored as %s %s, %v; want %s %s", test.event, data.Type, data.Data, err, test.name, test.json)
		}
		back, err := payment.Codec.Decode(eventstore.Event{EventData: data})
		if err != nil || !reflect.DeepEqual(back, test.event) {
			t.Errorf("%s is read as %v, %v", data.Data, back, err)
		}
	}
}

// What clients send.
func TestWireForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		command interface{ RequestType() string }
		name    string
		json    string
	}{
		{request, "payment.request", `{"amount":"36.00","card":"tok-1"}`},
		{payment.Capture{}, "payment.capture", `{}`},
		{payment.Void{Reason: "late"}, "payment.void", `{"reason":"late"}`},
		{payment.Refund{Reason: "late"}, "payment.refund", `{"reason":"late"}`},
	} {
		data, err := json.Marshal(test.command)
		if err != nil || string(data) != test.json || test.command.RequestType() != test.name {
			t.Errorf("%v is %s %s, %v; want %s %s", test.command, test.command.RequestType(), data, err, test.name, test.json)
		}
	}
}

// Each error of a rule has a code, and one alone.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	codes := make(map[error]string)
	for code, err := range payment.Errors {
		if codes[err] != "" {
			t.Errorf("%q has two codes, %q and %q", err, code, codes[err])
		}
		codes[err] = code
	}
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name != "Errors" {
			declared++
		}
		return true
	})
	if declared != len(codes) {
		t.Errorf("%d errors are declared, %d have codes", declared, len(codes))
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range (events{requested, authorised, declined, captured, voided, refunded}) {
		data, err := payment.Codec.Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data.Type, data.Data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		event, err := payment.Codec.Decode(eventstore.Event{EventData: eventstore.EventData{Type: name, Data: data}})
		if err != nil {
			return
		}
		// Whatever can be read can be folded, and is stored as it is.
		fold(events{event, event})
		again, err := payment.Codec.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := payment.Codec.Decode(eventstore.Event{EventData: again}); err != nil || !reflect.DeepEqual(back, event) {
			t.Errorf("%#v is read as %#v, %v", event, back, err)
		}
	})
}
