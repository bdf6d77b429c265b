package web_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
	"github.com/headwater-go/headwater/service"
)

// A front beside the service that has the orders, in one process.
func ExampleNew() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "orders")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	store, err := eventstore.Open(ctx, nc, "orders-log", &eventstore.Options{Live: true})
	if err != nil {
		log.Fatal(err)
	}
	orders := aggregate.NewRepository[order.Order](store, order.Kind, order.Codec, nil)
	find := func(ctx context.Context, q order.Find) (order.Summary, error) {
		o, at, err := orders.Load(ctx, q.ID)
		return order.Summary{ID: q.ID, Customer: o.Customer, Stage: o.Stage(), Version: at.Version, Position: at.Position}, err
	}
	responder, err := service.Respond(ctx, nc, "orders", []service.Endpoint{
		service.Handle[order.Place](orders, nil),
		service.Query(find, nil),
	}, &service.RespondOptions{Errors: order.Errors})
	if err != nil {
		log.Fatal(err)
	}
	defer responder.Stop(ctx)

	client, err := service.NewClient(nc, "orders", &service.ClientOptions{Errors: order.Errors})
	if err != nil {
		log.Fatal(err)
	}
	front := web.New(web.Config{Orders: client, Log: store, Conn: nc})
	defer front.Close()
	site := httptest.NewServer(front)
	defer site.Close()
	for range 2 {
		body := `{"id":"1001","customer":"ALFKI","lines":[{"product":"Chai","unitPrice":"18.00","quantity":2}]}`
		request, err := http.NewRequestWithContext(ctx, "POST", site.URL+"/orders", strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", `"e7a1"`)
		answer, err := site.Client().Do(request)
		if err != nil {
			log.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		fmt.Println(answer.Status, answer.Header.Get("ETag"), err)
		fmt.Print(string(text))
	}
	// Output:
	// 201 Created "2" <nil>
	// {"id":"1001","customer":"ALFKI","stage":"placed","amount":"0.00","version":2,"position":1,"changed":"0001-01-01T00:00:00Z"}
	// 201 Created "2" <nil>
	// {"id":"1001","customer":"ALFKI","stage":"placed","amount":"0.00","version":2,"position":1,"changed":"0001-01-01T00:00:00Z"}
}
