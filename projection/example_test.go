package projection_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
)

// The events of a shop, as its package for orders would have them.
type (
	orderEvent interface{ EventType() string }
	placed     struct{ Customer string }
	shipped    struct{}
)

func (placed) EventType() string  { return "order.placed" }
func (shipped) EventType() string { return "order.shipped" }

var orderCodec = eventstore.JSON[orderEvent](placed{}, shipped{})

// shop is a log with a few orders, and a folder.
type shop struct {
	nc    *nats.Conn
	store *eventstore.Store
	dir   string
	close func()
}

func newShop() shop {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		log.Fatal(err)
	}
	server, err := embedded.Start(context.Background(), filepath.Join(dir, "data"), nil)
	if err != nil {
		log.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	store, err := eventstore.Open(context.Background(), nc, "shop", nil)
	if err != nil {
		log.Fatal(err)
	}
	s := shop{nc, store, dir, func() { server.Close(); os.RemoveAll(dir) }}
	s.append("1", placed{"ann"})
	s.append("2", placed{"ben"})
	s.append("1", shipped{})
	return s
}

func (s shop) append(id string, e orderEvent) eventstore.Revision {
	data, err := orderCodec.Encode(e)
	if err != nil {
		log.Fatal(err)
	}
	at, err := s.store.Append(context.Background(), eventstore.StreamID{Kind: "order", ID: id}, eventstore.Any, []eventstore.EventData{data}, nil)
	if err != nil {
		log.Fatal(err)
	}
	return at
}

// run runs a projection until what it returns is called.
func run(p interface{ Run(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// A read model of the open orders, in a bbolt file: the bucket has a key for each.
func Example() {
	shop := newShop()
	defer shop.close()
	file, err := projection.OpenFile(filepath.Join(shop.dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	open, err := projection.New("open-orders", shop.store, file, projection.From("order", orderCodec,
		projection.On(func(_ context.Context, orders *bbolt.Bucket, e placed, at projection.Event) error {
			return orders.Put([]byte(at.Stream.ID), []byte(e.Customer))
		}),
		projection.On(func(_ context.Context, orders *bbolt.Bucket, _ shipped, at projection.Event) error {
			return orders.Delete([]byte(at.Stream.ID))
		}),
	), nil)
	if err != nil {
		log.Fatal(err)
	}
	stop := run(open)
	defer stop()

	// Whoever writes can wait until it is in the read model.
	at := shop.append("3", placed{"cid"})
	if err := open.Wait(context.Background(), at); err != nil {
		log.Fatal(err)
	}
	err = file.View("open-orders", func(orders *bbolt.Bucket) error {
		return orders.ForEach(func(id, customer []byte) error {
			fmt.Printf("order %s of %s is open\n", id, customer)
			return nil
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// order 2 of ben is open
	// order 3 of cid is open
}

// A read model in memory, which is saved in a file now and then.
func ExampleNewMemory() {
	shop := newShop()
	defer shop.close()
	file, err := projection.OpenFile(filepath.Join(shop.dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	type counts struct{ Placed, Shipped int }
	memory := projection.NewMemory[counts](file, nil)
	p, err := projection.New("counts", shop.store, memory, projection.From("order", orderCodec,
		projection.On(func(_ context.Context, c *counts, _ placed, _ projection.Event) error {
			c.Placed++
			return nil
		}),
		projection.On(func(_ context.Context, c *counts, _ shipped, _ projection.Event) error {
			c.Shipped++
			return nil
		}),
	), nil)
	if err != nil {
		log.Fatal(err)
	}
	stop := run(p)
	defer stop()

	ctx := context.Background()
	last, err := shop.store.Position(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Wait(ctx, eventstore.Revision{Position: last}); err != nil {
		log.Fatal(err)
	}
	err = memory.View(ctx, "counts", func(c *counts) error {
		fmt.Printf("%+v\n", *c)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: {Placed:2 Shipped:1}
}

// Effects outside of a database, at least once each: four workers send mails, those
// of an order one after another.
func ExampleNewEffects() {
	shop := newShop()
	defer shop.close()
	file, err := projection.OpenFile(filepath.Join(shop.dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	mails, err := projection.New("mails", shop.store, projection.NewEffects(file), projection.From("order", orderCodec,
		projection.On(func(_ context.Context, _ struct{}, _ shipped, at projection.Event) error {
			// The event's id lets the mail server see that it has the mail.
			fmt.Println("mail: your order", at.Stream.ID, "is on its way")
			return nil
		}),
	), &projection.Options{Workers: 4})
	if err != nil {
		log.Fatal(err)
	}
	stop := run(mails)
	defer stop()
	last, err := shop.store.Position(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := mails.Wait(context.Background(), eventstore.Revision{Position: last}); err != nil {
		log.Fatal(err)
	}
	// Output: mail: your order 1 is on its way
}

// A rebuild beside the read model in use, with progress.
func ExampleProjection_Rebuild() {
	shop := newShop()
	defer shop.close()
	file, err := projection.OpenFile(filepath.Join(shop.dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	p, err := projection.New("customers", shop.store, file, projection.From("order", orderCodec,
		projection.On(func(_ context.Context, customers *bbolt.Bucket, e placed, at projection.Event) error {
			return customers.Put([]byte(e.Customer), binary.AppendUvarint(nil, at.Position))
		}),
	), nil)
	if err != nil {
		log.Fatal(err)
	}
	done, err := p.Rebuild(context.Background(), &projection.RebuildOptions{Progress: func(now projection.Progress) {
		if now.Position == now.Target {
			fmt.Printf("%.0f%%, position %d\n", now.Percent(), now.Position)
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("generation %d, %d events handled\n", done.Generation, done.Events)
	// Output:
	// 100%, position 3
	// generation 2, 2 events handled
}

// What cannot be handled is parked, with what comes after it in the same stream,
// and handled when somebody asks for it.
func ExampleProjection_Retry() {
	shop := newShop()
	defer shop.close()
	file, err := projection.OpenFile(filepath.Join(shop.dir, "read-models"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()

	var mu sync.Mutex
	mended := false
	p, err := projection.New("addresses", shop.store, file, projection.From("order", orderCodec,
		projection.On(func(_ context.Context, _ *bbolt.Bucket, e placed, _ projection.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if e.Customer == "ben" && !mended {
				return &projection.Permanent{Err: errors.New("no address of ben")}
			}
			return nil
		}),
	), &projection.Options{Poison: projection.Park})
	if err != nil {
		log.Fatal(err)
	}
	stop := run(p)
	defer stop()

	ctx := context.Background()
	last, err := shop.store.Position(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Wait(ctx, eventstore.Revision{Position: last}); err != nil {
		log.Fatal(err)
	}
	list, err := p.Parked(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, parked := range list {
		fmt.Println(parked.Stream, "waits:", parked.Reason)
	}
	mu.Lock()
	mended = true
	mu.Unlock()
	fmt.Println(p.Retry(ctx, list[0].Stream))
	// Output:
	// order/2 waits: no address of ben
	// <nil>
}
