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

// Two who have seen the same order want to change it. The second is told that it is
// not what was seen any more; the first may ask again, and is answered.
func ExampleExecuteOptions() {
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
	_, seen, err := orders.Execute(ctx, "42", Place{Customer: "ann"}, nil)
	if err != nil {
		panic(err)
	}

	for _, who := range []string{"ann", "bob", "ann"} {
		_, at, err := orders.Execute(ctx, "42", Ship{}, &aggregate.ExecuteOptions{CommandID: who, Version: seen.Version})
		fmt.Printf("%s: %v, again: %v, conflict: %v\n", who, at, at.Replayed, errors.Is(err, eventstore.ErrConflict))
	}
	// Output:
	// ann: version 2, again: false, conflict: false
	// bob: version 0, again: false, conflict: true
	// ann: version 2, again: true, conflict: false
}
