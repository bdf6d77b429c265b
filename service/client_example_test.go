package service_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// A service of tills, as it would be in a process of its own, and a client. The
// command Pay has the name "till.pay", and Take "till.take":
//
//	func (Pay) RequestType() string { return "till.pay" }
func ExampleClient_Execute() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "tills")
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
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	tills := aggregate.NewRepository[Till](store, "till", tillCodec, nil)

	// Client and service have the codes of the rules' errors in common.
	rules := map[string]error{"short": errShort}
	responder, err := service.Respond(ctx, nc, "cash", []service.Endpoint{
		service.Handle[Pay](tills, &service.HandleOptions{State: true}),
		service.Handle[Take](tills, nil),
	}, &service.RespondOptions{Version: "1.0.0", Description: "What is in the tills.", Errors: rules})
	if err != nil {
		log.Fatal(err)
	}
	defer responder.Stop(ctx)

	cash, err := service.NewClient(nc, "cash", &service.ClientOptions{Errors: rules})
	if err != nil {
		log.Fatal(err)
	}
	// With an id it is safe to send the command again at any later time.
	for range 2 {
		var till Till
		at, err := cash.Execute(ctx, "front", Pay{Amount: 5}, &service.CommandOptions{CommandID: "receipt-1", State: &till})
		fmt.Printf("%+v at %v, again: %v, error: %v\n", till, at, at.Replayed, err)
	}
	_, err = cash.Execute(ctx, "front", Take{Amount: 9}, nil)
	fmt.Println(errors.Is(err, errShort), err)
	// Output:
	// {Total:5 Payments:1} at version 1, again: false, error: <nil>
	// {Total:5 Payments:1} at version 1, again: true, error: <nil>
	// true cash.command.till.take: till/front rejected at version 1: there is not that much in the till
}

// A query over a read model, which has what the client wrote just before.
func ExampleAsk() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "tills")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Start(ctx, filepath.Join(dir, "data"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	file, err := projection.OpenFile(filepath.Join(dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	// The read model: what all tills got, in all.
	memory := projection.NewMemory[int](file, nil)
	income, err := projection.New("income", store, memory, projection.From("till", tillCodec,
		projection.On(func(_ context.Context, sum *int, e Paid, _ projection.Event) error {
			*sum += e.Amount
			return nil
		}),
	), nil)
	if err != nil {
		log.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	var projecting sync.WaitGroup
	projecting.Go(func() {
		if err := income.Run(running); err != nil {
			log.Fatal(err)
		}
	})
	defer projecting.Wait()
	defer stop()

	answer := func(ctx context.Context, _ Totals) (sum int, err error) {
		err = memory.View(ctx, "income", func(s *int) error { sum = *s; return nil })
		return sum, err
	}
	tills := aggregate.NewRepository[Till](store, "till", tillCodec, nil)
	responder, err := service.Respond(ctx, nc, "cash", []service.Endpoint{
		service.Handle[Pay](tills, nil),
		service.Query(answer, &service.QueryOptions{Wait: income.Wait}),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer responder.Stop(ctx)

	cash, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, till := range []string{"front", "back"} {
		at, err := cash.Execute(ctx, till, Pay{Amount: 5}, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(service.Ask[int](ctx, cash, Totals{}, &service.AskOptions{NotBefore: at}))
	}
	// Output:
	// 5 <nil>
	// 10 <nil>
}
