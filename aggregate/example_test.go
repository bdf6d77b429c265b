package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
)

// The events of an order.

type OrderEvent interface {
	eventstore.Typed
	isOrderEvent()
}

type Placed struct{ Customer string }

type Shipped struct{}

func (Placed) EventType() string  { return "order.placed" }
func (Shipped) EventType() string { return "order.shipped" }
func (Placed) isOrderEvent()      {}
func (Shipped) isOrderEvent()     {}

// The state, which folds them.

type Order struct{ Placed, Shipped bool }

func (o Order) Evolve(e OrderEvent) Order {
	switch e.(type) {
	case Placed:
		o.Placed = true
	case Shipped:
		o.Shipped = true
	}
	return o
}

// The commands, which decide.

type Place struct{ Customer string }

func (p Place) Decide(o Order) ([]OrderEvent, error) {
	if o.Placed {
		return nil, errors.New("the order was placed before")
	}
	return []OrderEvent{Placed(p)}, nil
}

type Ship struct{}

var errNoOrder = errors.New("there is no such order")

func (Ship) Decide(o Order) ([]OrderEvent, error) {
	if !o.Placed {
		return nil, errNoOrder
	}
	if o.Shipped {
		return nil, nil // nothing to do
	}
	return []OrderEvent{Shipped{}}, nil
}

// A first program: an order is placed and shipped.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orders")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		panic(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		panic(err)
	}
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		panic(err)
	}
	codec := eventstore.JSON[OrderEvent](Placed{}, Shipped{})
	orders := aggregate.NewRepository[Order](store, "order", codec, nil)

	_, _, err = orders.Execute(ctx, "42", Ship{}, nil)
	fmt.Println(err, errors.Is(err, errNoOrder))

	order, at, err := orders.Execute(ctx, "42", Place{Customer: "ann"}, nil)
	fmt.Printf("%+v %v %v\n", order, at, err)

	// The id makes it safe to execute the command again, when the answer was
	// lost for example.
	for range 2 {
		order, at, err = orders.Execute(ctx, "42", Ship{}, &aggregate.ExecuteOptions{CommandID: "ship-42"})
		fmt.Printf("%+v %v %v, again: %v\n", order, at, err, at.Replayed)
	}

	order, at, err = orders.LoadVersion(ctx, "42", 1)
	fmt.Printf("%+v %v %v\n", order, at, err)
	// Output:
	// order/42 rejected at version 0: there is no such order true
	// {Placed:true Shipped:false} version 1 <nil>
	// {Placed:true Shipped:true} version 2 <nil>, again: false
	// {Placed:true Shipped:true} version 2 <nil>, again: true
	// {Placed:true Shipped:false} version 1 <nil>
}
