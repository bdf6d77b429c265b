package projection_test

import (
	"context"
	"fmt"
	"log"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
)

// A customer earns a point with each order.
type (
	customerEvent interface{ EventType() string }
	pointEarned   struct{ Order string }
	customer      struct{ Points int }
	earnPoint     struct{ Order string } // a command
)

func (pointEarned) EventType() string { return "customer.point-earned" }

func (c customer) Evolve(customerEvent) customer { return customer{c.Points + 1} }

func (c earnPoint) Decide(customer) ([]customerEvent, error) {
	return []customerEvent{pointEarned(c)}, nil
}

// A process manager: what happens to orders leads to commands to customers. All
// processes of the program run it on one bucket of the NATS cluster, and one of them
// works. The command's id follows from the event, so that each order counts once,
// however often its event is handled.
func ExampleKV() {
	ctx := context.Background()
	shop := newShop()
	defer shop.close()
	customers := aggregate.NewRepository[customer](shop.store, "customer", eventstore.JSON[customerEvent](pointEarned{}), nil)

	kv, err := projection.OpenKV(ctx, shop.nc, "process-managers", &projection.KVOptions{Replicas: 1}) // 3 on a cluster
	if err != nil {
		log.Fatal(err)
	}
	points, err := projection.New("points", shop.store, projection.NewEffects(kv), projection.From("order", orderCodec,
		projection.On(func(ctx context.Context, _ struct{}, e placed, at projection.Event) error {
			id := &aggregate.ExecuteOptions{CommandID: at.CommandID("")}
			_, _, err := customers.Execute(ctx, e.Customer, earnPoint{Order: at.Stream.ID}, id)
			return err
		}),
	), &projection.Options{Workers: 4})
	if err != nil {
		log.Fatal(err)
	}
	stop := run(points)
	defer stop()

	at := shop.append("3", placed{"ann"})
	if err := points.Wait(ctx, at); err != nil {
		log.Fatal(err)
	}
	ann, _, err := customers.Load(ctx, "ann")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("points of ann:", ann.Points)
	// Output: points of ann: 2
}
