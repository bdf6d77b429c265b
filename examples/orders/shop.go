package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/snapshot"
)

// logName is the log that the orders are in.
const logName = "shop"

// shop is the store in a folder: a server in this process, the log on it, and
// the orders in the log. The states of orders that changed often are kept beside
// it, so that they need not be read whole.
type shop struct {
	server    *embedded.Server
	log       *eventstore.Store
	snapshots *snapshot.Store
	orders    *orders
}

type orders = aggregate.Repository[order.Order, order.Event]

// openShop opens the shop in a folder, which is made where there is none. Close
// it.
func openShop(ctx context.Context, dir string) (*shop, error) {
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	s := &shop{server: server}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *shop) open(ctx context.Context) error {
	nc, err := s.server.Connect()
	if err != nil {
		return err
	}
	s.log, err = eventstore.Open(ctx, nc, logName, nil)
	if err != nil {
		return err
	}
	s.snapshots, err = snapshot.Open(filepath.Join(s.server.Dir(), "snapshots"), nil)
	if err != nil {
		return err
	}
	s.orders = s.repository(&aggregate.Options{Snapshots: s.snapshots, Policy: snapshot.Every(50)})
	return nil
}

func (s *shop) repository(opts *aggregate.Options) *orders {
	return aggregate.NewRepository[order.Order](s.log, order.Kind, order.Codec, opts)
}

// visitShop opens the shop in a folder to look at it, and refuses to make one:
// a mistyped name is more likely than a wish to see nothing.
func visitShop(ctx context.Context, dir string) (*shop, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s: name the one to look at with -data, or import orders into it first", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		return nil, fmt.Errorf("the folder %s holds no orders: import some into it first, or name another with -data", dir)
	}
	return openShop(ctx, dir)
}

// Close stops the server. What was stored is on the disk.
func (s *shop) Close() error {
	var err error
	if s.snapshots != nil {
		err = s.snapshots.Close()
	}
	return errors.Join(err, s.server.Close())
}
