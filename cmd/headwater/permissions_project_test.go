package main_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

// project keeps a read model in a file up to date, stops, goes on and makes it anew.
func project(ctx context.Context, u *user) error {
	log, err := eventstore.Open(ctx, u.nc, "shop", nil)
	if err != nil {
		return err
	}
	file, err := projection.OpenFile(filepath.Join(u.TempDir(), "models"))
	if err != nil {
		return err
	}
	defer file.Close()
	handlers := projection.From("order", eventstore.JSON[eventstore.Typed](placed{}),
		projection.On(func(context.Context, *bbolt.Bucket, placed, projection.Event) error { return nil }))
	p, err := projection.New("open", log, file, handlers, nil)
	if err != nil {
		return err
	}
	for range 2 { // the second time from a checkpoint
		if err := runProjection(ctx, u, p); err != nil {
			return err
		}
	}
	_, err = p.Rebuild(ctx, nil)
	return err
}

// runProjection runs a projection until it has handled a new commit, and the server
// knows that.
func runProjection[T any](ctx context.Context, u *user, p *projection.Projection[T]) (err error) {
	at, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	err = until(ctx, func() (bool, error) {
		status := p.Status()
		if errors.Is(status.Err, eventstore.ErrDenied) {
			return false, status.Err
		}
		return status.State == projection.Live && status.Position >= at.Position, nil
	})
	if err == nil {
		err = until(ctx, func() (bool, error) { return isDone(ctx, u.admin, p.Name(), at.Position) })
	}
	stop()
	return errors.Join(err, <-ended)
}

// isDone reports whether the server knows that the one consumer of a projection has
// come to a position.
func isDone(ctx context.Context, admin *nats.Conn, name string, position uint64) (bool, error) {
	all, err := consumers(ctx, admin)
	if err != nil {
		return false, err
	}
	all = slices.DeleteFunc(all, func(c *jetstream.ConsumerInfo) bool { return c.Config.Metadata["headwater-projection"] != name })
	return len(all) == 1 && all[0].AckFloor.Stream >= position, nil
}

func consumers(ctx context.Context, admin *nats.Conn) (all []*jetstream.ConsumerInfo, err error) {
	js, err := jetstream.New(admin)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, "shop")
	if err != nil {
		return nil, err
	}
	lister := stream.ListConsumers(ctx)
	for c := range lister.Info() {
		all = append(all, c)
	}
	return all, lister.Err()
}

// takeTurns reads a shared consumer, gives it back, and waits for others'.
func takeTurns(ctx context.Context, u *user) error {
	log, err := eventstore.Open(ctx, u.nc, "shop", nil)
	if err != nil {
		return err
	}
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	// A consumer that is not given back is free after 2 seconds, and that may be when
	// a machine is busy.
	for i := range 5 {
		name := fmt.Sprint("turn-", i)
		c, err := log.Consume(ctx, name, 0, &eventstore.ConsumerOptions{Shared: true})
		if err != nil {
			return err
		}
		_, err = c.Next(ctx)
		c.Close()
		if err != nil {
			return err
		}
		if pinned, err := isPinned(ctx, u.admin, name); err != nil || pinned {
			return errors.Join(err, errors.New("the consumer was not given back"))
		}
		if err := log.Standby(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func isPinned(ctx context.Context, admin *nats.Conn, name string) (bool, error) {
	all, err := consumers(ctx, admin)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		for _, group := range c.PriorityGroups {
			if c.Name == name && group.PinnedClientID != "" {
				return true, nil
			}
		}
	}
	return false, nil
}
