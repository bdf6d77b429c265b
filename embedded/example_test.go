package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
)

// A server in the process, without a socket, with a stream in a folder.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "headwater")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	s, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		panic(err)
	}
	defer s.Close()

	nc, err := s.Connect()
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		panic(err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	if err != nil {
		panic(err)
	}
	ack, err := js.Publish(ctx, "orders.42", []byte("placed"))
	if err != nil {
		panic(err)
	}
	fmt.Println(ack.Stream, ack.Sequence)
	// Output: ORDERS 1
}

// A stream with three replicas, of which one node is stopped for a while.
func ExampleStartCluster() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "headwater")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	c, err := embedded.StartCluster(ctx, dir, 3, &embedded.Options{Relaxed: true})
	if err != nil {
		panic(err)
	}
	defer c.Close()

	nc, err := c.Connect()
	if err != nil {
		panic(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		panic(err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3})
	if err != nil {
		panic(err)
	}
	if _, err := js.Publish(ctx, "orders.42", []byte("placed")); err != nil {
		panic(err)
	}

	if err := c.Stop(2); err != nil {
		panic(err)
	}
	if err := c.Restart(ctx, 2); err != nil {
		panic(err)
	}
	stream, err := js.Stream(ctx, "ORDERS")
	if err != nil {
		panic(err)
	}
	fmt.Println(stream.CachedInfo().State.Msgs)
	// Output: 1
}
