package order_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// What clients send and get. They are of other versions than the service at times.
func TestWireForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		name  string
		json  string
	}{
		{order.Place{Customer: "ALFKI", Required: wanted, Lines: []order.Item{tofu}, Card: "tok-1"}, "order.place",
			`{"customer":"ALFKI","required":"2026-03-16T00:00:00Z","card":"tok-1",` +
				`"lines":[{"product":"Tofu","unitPrice":"23.25","quantity":1,"discount":"0.05"}]}`},
		{order.Place{OnAccount: true}, "order.place", `{"customer":"","required":"0001-01-01T00:00:00Z","onAccount":true,"lines":null}`},
		{order.Cancel{Reason: "late"}, "order.cancel", `{"reason":"late"}`},
		{order.Ship{}, "order.ship", `{}`},
		{order.Find{ID: "1"}, "order", `{"id":"1"}`},
		{order.List{Limit: 7}, "orders", `{"limit":7}`},
		{order.Listed{Position: 9, Orders: []order.Summary{{ID: "1", Customer: "ALFKI", Stage: order.StageCancelled, Reason: "late",
			Amount: 36_0000, Version: 3, Position: 8, Changed: wanted.Add(time.Second)}}}, "",
			`{"orders":[{"id":"1","customer":"ALFKI","stage":"cancelled","reason":"late","amount":"36.00","version":3,` +
				`"position":8,"changed":"2026-03-16T00:00:01Z"}],"position":9}`},
	} {
		data, err := json.Marshal(test.value)
		if err != nil || string(data) != test.json {
			t.Errorf("%#v is %s, %v; want %s", test.value, data, err, test.json)
		}
		back := reflect.New(reflect.TypeOf(test.value))
		if err := json.Unmarshal(data, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), test.value) {
			t.Errorf("%s is read as %#v, %v", data, back.Elem(), err)
		}
		if typed, ok := test.value.(interface{ RequestType() string }); test.name != "" && (!ok || typed.RequestType() != test.name) {
			t.Errorf("%T does not have the name %q", test.value, test.name)
		}
	}
}

// Each error of a rule has a code, and one alone.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	codes := make(map[error]string)
	for code, err := range order.Errors {
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
		// ErrSyntax is about a text, which is no amount before it is read.
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name != "Errors" && spec.Names[0].Name != "ErrSyntax" {
			declared++
		}
		return true
	})
	if declared != len(codes) {
		t.Errorf("%d errors are declared, %d have codes", declared, len(codes))
	}
}
