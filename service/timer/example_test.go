package timer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/service/timer"
)

// An order is to be paid in time. A program would have the timers set by a handler of
// a projection, and what is due become a command.
func Example() {
	dir, err := os.MkdirTemp("", "timers")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	timers, err := timer.Open(ctx, nc, "shop", nil)
	if err != nil {
		log.Fatal(err)
	}

	placed := time.Now() // the time of the event
	for _, order := range []string{"1", "2"} {
		due := timer.Timer{ID: "payment of order " + order, At: placed.Add(300 * time.Millisecond), Data: []byte(order)}
		if err := timers.Set(ctx, due); err != nil {
			log.Fatal(err)
		}
	}
	// The first one is paid.
	if err := timers.Cancel(ctx, "payment of order 1"); err != nil {
		log.Fatal(err)
	}

	err = timers.Run(ctx, func(_ context.Context, due timer.Timer) error {
		fmt.Printf("order %s was not paid in time\n", due.Data)
		cancel() // a program would run on
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: order 2 was not paid in time
}

// What failed too often is listed, and called again when its cause is gone.
func ExampleTimers_Dead() {
	dir, err := os.MkdirTemp("", "timers")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	timers, err := timer.Open(ctx, nc, "shop", &timer.Options{Attempts: 1})
	if err != nil {
		log.Fatal(err)
	}
	if err := timers.Set(ctx, timer.Timer{ID: "reminder", At: time.Now()}); err != nil {
		log.Fatal(err)
	}

	err = timers.Run(ctx, func(_ context.Context, due timer.Timer) error {
		cancel() // a program would run on
		return errors.New("no mail server")
	})
	if err != nil {
		log.Fatal(err)
	}

	ctx = context.Background()
	for dead, err := range timers.Dead(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", dead.ID, dead.Reason)
		if err := timers.Set(ctx, dead.Timer); err != nil { // it is due at once
			log.Fatal(err)
		}
	}
	// Output: reminder: no mail server
}
