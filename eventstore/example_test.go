package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// openShop opens the log "shop" on a server of its own, in a folder that lasts
// as long as the example.
func openShop(ctx context.Context) (store *eventstore.Store, close func()) {
	nc, close := connectShop(ctx)
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		panic(err)
	}
	return store, close
}

func connectShop(ctx context.Context) (nc *nats.Conn, close func()) {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		panic(err)
	}
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		panic(err)
	}
	if nc, err = server.Connect(); err != nil {
		panic(err)
	}
	return nc, func() {
		server.Close()
		os.RemoveAll(dir)
	}
}

// Events are appended to a stream and read back.
func Example() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()

	order := eventstore.StreamID{Kind: "order", ID: "42"}
	at, err := store.Append(ctx, order, eventstore.NoStream, []eventstore.EventData{
		{Type: "order.placed", ContentType: "application/json", Data: []byte(`{"customer":"ann"}`)},
		{Type: "order.paid"},
	}, nil)
	if err != nil {
		panic(err)
	}
	// The revision that an append returns is what the next one expects.
	at, err = store.Append(ctx, order, at, []eventstore.EventData{{Type: "order.shipped"}}, &eventstore.AppendOptions{
		Metadata: map[string]string{"user": "bob"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(order, "is at", at)

	for event, err := range store.Read(ctx, order, nil) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%d %s %s %v\n", event.Version, event.Type, event.Data, event.Metadata)
	}
	// Output:
	// order/42 is at version 3
	// 1 order.placed {"customer":"ann"} map[]
	// 2 order.paid  map[]
	// 3 order.shipped  map[user:bob]
}

// Of two writers that have seen the same version, one is told to read again.
func ExampleStore_Append_conflict() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()

	order := eventstore.StreamID{Kind: "order", ID: "42"}
	at, err := store.Append(ctx, order, eventstore.NoStream, []eventstore.EventData{{Type: "order.placed"}}, nil)
	if err != nil {
		panic(err)
	}
	for _, decision := range []string{"order.shipped", "order.cancelled"} {
		_, err := store.Append(ctx, order, at, []eventstore.EventData{{Type: decision}}, nil)
		var conflict *eventstore.ConflictError
		if errors.As(err, &conflict) {
			fmt.Printf("not %s: expected %s, found version %d\n", decision, conflict.Expected, conflict.Actual)
			continue
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(decision)
	}
	// Output:
	// order.shipped
	// not order.cancelled: expected version 1, found version 2
}

// An append with an id may be repeated, when its answer was lost for example.
func ExampleStore_Append_repeated() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()

	order := eventstore.StreamID{Kind: "order", ID: "42"}
	for range 2 {
		at, err := store.Append(ctx, order, eventstore.Any, []eventstore.EventData{{Type: "order.placed"}},
			&eventstore.AppendOptions{CommitID: "request-7"})
		if err != nil {
			panic(err)
		}
		fmt.Println(at, "replayed:", at.Replayed)
	}
	// Output:
	// version 1 replayed: false
	// version 1 replayed: true
}

// Follow waits for what is appended next. The position of the last event that
// was handled is where to go on another time.
func ExampleStore_Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, close := openShop(ctx)
	defer close()

	place := func(id string) {
		_, err := store.Append(ctx, eventstore.StreamID{Kind: "order", ID: id}, eventstore.NoStream, []eventstore.EventData{{Type: "order.placed"}}, nil)
		if err != nil {
			panic(err)
		}
	}
	place("1")
	place("2")
	handled := uint64(0)
	for event, err := range store.Follow(ctx, handled, nil) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(event.Position, event.Stream, event.Type)
		handled = event.Position
		switch handled {
		case 2:
			place("3") // while it follows
		case 3:
			cancel()
		}
	}
	fmt.Println("handled up to", handled)
	// Output:
	// 1 order/1 order.placed
	// 2 order/2 order.placed
	// 3 order/3 order.placed
	// handled up to 3
}

// Live tells at once what is appended, without a consumer on the server. What was
// there before is read when the server has the subscription, so nothing is missed
// between. When the feed may have missed something it says so, and all is done again.
func ExampleLive() {
	ctx := context.Background()
	nc, close := connectShop(ctx)
	defer close()
	store, err := eventstore.Open(ctx, nc, "shop", &eventstore.Options{Live: true})
	if err != nil {
		panic(err)
	}
	place := func(id string) {
		_, err := store.Append(ctx, eventstore.StreamID{Kind: "order", ID: id}, eventstore.NoStream, []eventstore.EventData{{Type: "order.placed"}}, nil)
		if err != nil {
			panic(err)
		}
	}
	place("1")

	seen := uint64(0) // position
	catchUp := func() (uint64, error) {
		for event, err := range store.Log(ctx, seen, nil) {
			if err != nil {
				return seen, err
			}
			fmt.Println(event.Stream, "was there")
			seen = event.Position
		}
		place("2") // while it listens
		return seen, nil
	}
	for seen < 2 {
		for event, err := range eventstore.Live(ctx, nc, "shop", &eventstore.LiveOptions{CatchUp: catchUp}) {
			if errors.Is(err, eventstore.ErrMissed) {
				break // and begin again
			}
			if err != nil {
				panic(err)
			}
			fmt.Println(event.Stream, "came")
			seen = event.Position
			break
		}
	}
	// Output:
	// order/1 was there
	// order/2 came
}

// Streams come in the order of their last commits, so where a page ended is
// where the next one begins.
func ExampleStore_Streams() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()

	for _, id := range []string{"1", "2", "3", "1"} {
		_, err := store.Append(ctx, eventstore.StreamID{Kind: "order", ID: id}, eventstore.Any, []eventstore.EventData{{Type: "order.changed"}}, nil)
		if err != nil {
			panic(err)
		}
	}
	page := uint64(0)
	for head, err := range store.Streams(ctx, "order", page) {
		if err != nil {
			panic(err)
		}
		fmt.Println(head.Stream, "is at", head.Revision)
		if page = head.Revision.Position; page == 3 {
			break
		}
	}
	fmt.Println("next page")
	for head, err := range store.Streams(ctx, "order", page) {
		if err != nil {
			panic(err)
		}
		fmt.Println(head.Stream, "is at", head.Revision)
	}
	// Output:
	// order/2 is at version 1
	// order/3 is at version 1
	// next page
	// order/1 is at version 2
}

// Outside of its log an event is a CloudEvent.
func ExampleEvent_MarshalJSON() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()

	order := eventstore.StreamID{Kind: "order", ID: "4 2"}
	_, err := store.Append(ctx, order, eventstore.NoStream, []eventstore.EventData{
		{Type: "order.placed", ContentType: "application/json", Data: []byte(`{"customer":"ann"}`)},
		{Type: "order.noted", ContentType: "text/plain", Data: []byte("ring twice")},
	}, &eventstore.AppendOptions{
		CommitID: "5a9c", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Metadata: map[string]string{eventstore.User: "ann"},
	})
	if err != nil {
		panic(err)
	}
	for event, err := range store.Read(ctx, order, nil) {
		if err != nil {
			panic(err)
		}
		event.Recorded = time.Time{} // another time in each run
		text, err := event.MarshalJSON()
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s\n", text)
	}
	// Output:
	// {"specversion":"1.0","id":"5a9c#1","source":"/shop/order/4%202","type":"order.placed","subject":"4 2","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","hwversion":"1","hwposition":"1","hwcommit":"5a9c","user":"ann","data":{"customer":"ann"}}
	// {"specversion":"1.0","id":"5a9c#2","source":"/shop/order/4%202","type":"order.noted","subject":"4 2","time":"2026-01-02T03:04:05Z","datacontenttype":"text/plain","hwversion":"2","hwposition":"1","hwcommit":"5a9c","user":"ann","data":"ring twice"}
}

// A consumer delivers the log to whoever keeps something up to date with it. What
// is processed, the reader itself notes: here in a variable.
func ExampleStore_Consume() {
	ctx := context.Background()
	store, close := openShop(ctx)
	defer close()
	for _, id := range []string{"41", "42"} {
		order := eventstore.StreamID{Kind: "order", ID: id}
		_, err := store.Append(ctx, order, eventstore.NoStream, []eventstore.EventData{{Type: "order.placed"}, {Type: "order.paid"}}, nil)
		if err != nil {
			panic(err)
		}
	}

	var done eventstore.Delivery // before the first
	consumer, err := store.Consume(ctx, "report-1", done.Position, &eventstore.ConsumerOptions{Recorded: done.Recorded})
	if err != nil {
		panic(err)
	}
	defer consumer.Close()
	for done.Position < consumer.Head() {
		delivery, err := consumer.Next(ctx)
		if errors.Is(err, eventstore.ErrUnavailable) {
			panic("make another consumer, after done")
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(delivery.Position, delivery.Events[0].Stream, len(delivery.Events), "events")
		done = delivery
		consumer.Done(done.Position)
	}
	// Output:
	// 1 order/41 2 events
	// 2 order/42 2 events
}
