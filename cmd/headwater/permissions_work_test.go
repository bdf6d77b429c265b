package main_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An order is what the users' commands are about.
type order struct{ Items int }

func (o order) Evolve(placed) order { return order{o.Items + 1} }

var orderCodec = eventstore.JSON[placed](placed{})

type placeOrder struct{}

func (placeOrder) RequestType() string            { return "order.place" }
func (placeOrder) Decide(order) ([]placed, error) { return []placed{{}}, nil }

type payOrder struct{}

func (payOrder) RequestType() string            { return "payment.take" }
func (payOrder) Decide(order) ([]placed, error) { return []placed{{}}, nil }

type howMany struct{}

func (howMany) RequestType() string { return "count" }

var (
	orderOne = eventstore.StreamID{Kind: "order", ID: "1"}
	oneEvent = []eventstore.EventData{{Type: "order.placed", ContentType: "application/json", Data: []byte("{}")}}
)

// serve answers for a service until the function that it returns is called.
func serve(ctx context.Context, nc *nats.Conn, name string, log *eventstore.Store) (stop func() error, err error) {
	orders := aggregate.NewRepository[order](log, "order", orderCodec, nil)
	payments := aggregate.NewRepository[order](log, "payment", orderCodec, nil)
	endpoint := service.Handle[placeOrder](orders, nil)
	if name == "payments" {
		endpoint = service.Handle[payOrder](payments, nil)
	}
	r, err := service.Respond(ctx, nc, name, []service.Endpoint{
		endpoint,
		service.Query(func(context.Context, howMany) (int, error) { return 7, nil }, nil),
	}, nil)
	if err != nil {
		return nil, err
	}
	return func() error { return r.Stop(context.WithoutCancel(ctx)) }, nil
}

// store appends to streams and reads them, with a high-water mark.
func store(ctx context.Context, u *user) error {
	opts := &eventstore.Options{HighWater: filepath.Join(u.TempDir(), "mark"), Live: u.live}
	for range 2 { // the second time with a mark
		log, err := eventstore.Open(ctx, u.nc, "shop", opts)
		if err != nil {
			return err
		}
		for range 5 {
			if _, err := log.Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
				return err
			}
		}
		if _, err := log.Append(ctx, orderOne, eventstore.NoStream, oneEvent, nil); !errors.Is(err, eventstore.ErrConflict) {
			return fmt.Errorf("a second first commit: %w", err)
		}
		for _, err := range log.Read(ctx, orderOne, nil) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// answer answers the administrator's requests.
func answer(ctx context.Context, u *user) error {
	log, err := eventstore.Open(ctx, u.nc, "shop", nil)
	if err != nil {
		return err
	}
	stop, err := serve(ctx, u.nc, "orders", log)
	if err != nil {
		return err
	}
	return errors.Join(request(ctx, u.admin, "orders", placeOrder{}), discover(ctx, u.admin), stop())
}

func discover(ctx context.Context, nc *nats.Conn) error {
	_, err := nc.RequestWithContext(ctx, "$SRV.PING.orders", nil)
	return err
}

func request(ctx context.Context, nc *nats.Conn, name string, command service.Typed) error {
	c, err := service.NewClient(nc, name, nil)
	if err != nil {
		return err
	}
	if _, err := c.Execute(ctx, "2", command, nil); err != nil {
		return err
	}
	_, err = service.Ask[int](ctx, c, howMany{}, nil)
	return err
}

// ask sends requests to the administrator's service.
func ask(ctx context.Context, u *user) error {
	stop, err := serve(ctx, u.admin, "orders", u.owned())
	if err != nil {
		return err
	}
	return errors.Join(request(ctx, u.nc, "orders", placeOrder{}), stop())
}

// walk reads the log in all ways, and leaves nothing on the server.
func walk(ctx context.Context, u *user) error {
	log, err := eventstore.Open(ctx, u.nc, "shop", nil)
	if err != nil {
		return err
	}
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	for _, err := range log.Streams(ctx, "order", 0) {
		if err != nil {
			return err
		}
	}
	removed, err := removals(u.admin)
	if err != nil {
		return err
	}
	if _, err := log.Verify(ctx, nil); err != nil {
		return err
	}
	_, err = removed.NextMsgWithContext(ctx)
	return err
}

// removals are what the server says of consumers that are no more.
func removals(admin *nats.Conn) (*nats.Subscription, error) {
	sub, err := admin.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.DELETED.shop.*")
	if err != nil {
		return nil, err
	}
	return sub, admin.Flush()
}

// manage sends a command for each order, and asks, with checkpoints in a bucket.
func manage(ctx context.Context, u *user) error {
	log, err := eventstore.Open(ctx, u.nc, "shop", nil)
	if err != nil {
		return err
	}
	stop, err := serve(ctx, u.admin, "payments", u.owned())
	if err != nil {
		return err
	}
	err = manageWith(ctx, u, log)
	return errors.Join(err, stop())
}

func manageWith(ctx context.Context, u *user, log *eventstore.Store) error {
	bucket, err := projection.OpenKV(ctx, u.nc, "checkpoints", nil)
	if err != nil {
		return err
	}
	payments, err := service.NewClient(u.nc, "payments", nil)
	if err != nil {
		return err
	}
	handlers := projection.From("order", eventstore.JSON[eventstore.Typed](placed{}),
		projection.On(func(ctx context.Context, _ struct{}, _ placed, at projection.Event) error {
			_, err := payments.Execute(ctx, at.Stream.ID, payOrder{}, &service.CommandOptions{CommandID: at.CommandID("pay")})
			if err == nil {
				_, err = service.Ask[int](ctx, payments, howMany{}, nil)
			}
			return err
		}))
	p, err := projection.New("charge", log, projection.NewEffects(bucket), handlers, nil)
	if err != nil {
		return err
	}
	for range 2 {
		if err := runProjection(ctx, u, p); err != nil {
			return err
		}
	}
	return nil
}

// wait sets timers: one that is called, one that is cancelled, one that fails for good.
func wait(ctx context.Context, u *user) error {
	timers, err := timer.Open(ctx, u.nc, "expiry", &timer.Options{Attempts: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	now := time.Now()
	for id, at := range map[string]time.Time{"good": now, "bad": now, "late": now.Add(time.Hour)} {
		if err := timers.Set(ctx, timer.Timer{ID: id, At: at}); err != nil {
			return err
		}
	}
	if err := timers.Cancel(ctx, "late"); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	called, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- timers.Run(running, func(_ context.Context, due timer.Timer) error {
			if due.ID == "bad" {
				return errors.New("it is bad")
			}
			select {
			case called <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	select {
	case <-called:
	case err := <-ended:
		return err
	}
	err = until(ctx, func() (bool, error) {
		for _, err := range timers.Dead(ctx) {
			return err == nil, err
		}
		return false, nil
	})
	if err == nil {
		err = until(ctx, func() (bool, error) { return u.idle(ctx, ended) })
	}
	stop()
	return errors.Join(err, <-ended)
}

// idle reports whether the server knows that no timer is in hand any more. It is an
// error that nobody runs them.
func (u *user) idle(ctx context.Context, ended chan error) (bool, error) {
	select {
	case err := <-ended:
		ended <- err // once more
		return false, errors.Join(err, errors.New("nobody runs the timers"))
	default:
	}
	js, err := jetstream.New(u.admin)
	if err != nil {
		return false, err
	}
	c, err := js.Consumer(ctx, "expiry-timers", "run")
	if err != nil {
		return false, err
	}
	return c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0, nil
}

// listen hears of a commit.
func listen(ctx context.Context, u *user) error {
	log := u.owned()
	var wrong error
	opts := &eventstore.LiveOptions{Kind: "order", Subscribed: func() {
		_, wrong = log.Append(ctx, orderOne, eventstore.Any, oneEvent, nil)
	}}
	for _, err := range eventstore.Live(ctx, u.nc, "shop", opts) {
		return errors.Join(wrong, err)
	}
	return errors.New("nothing was heard")
}
