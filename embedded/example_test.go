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
