package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
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
	stop()
	return errors.Join(err, <-ended)
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

// operate runs commands that read.
func operate(ctx context.Context, u *user) error {
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	if _, err := u.owned().Append(ctx, orderOne, eventstore.Any, oneEvent, nil); err != nil {
		return err
	}
	for _, args := range []string{
		"logs", "streams", "streams -log shop", "cat order/1 -log shop", "verify -log shop", "projections -log shop",
	} {
		if err := u.command(ctx, "", strings.Fields(args)...); err != nil {
			return err
		}
	}
	removed, err := removals(u.admin)
	if err != nil {
		return err
	}
	if err := u.command(ctx, "", "export", "-log", "shop"); err != nil {
		return err
	}
	if _, err = removed.NextMsgWithContext(ctx); err != nil {
		return err
	}
	return tailOne(ctx, u)
}

// command runs the program on the server, as the user.
func (u *user) command(ctx context.Context, in string, args ...string) error {
	var complaints bytes.Buffer
	args = append(args, "-server", u.url, "-inbox", u.inbox)
	if status := headwater.Run(ctx, strings.NewReader(in), new(bytes.Buffer), &complaints, args...); status != 0 {
		return errors.New(complaints.String())
	}
	return nil
}

// tailOne follows the log until an event is printed.
func tailOne(ctx context.Context, u *user) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	seen := &onWrite{about: "order.placed", then: stop}
	var complaints bytes.Buffer
	args := []string{"tail", "-after", "0", "-log", "shop", "-server", u.url, "-inbox", u.inbox}
	headwater.Run(ctx, strings.NewReader(""), seen, &complaints, args...)
	if !seen.done {
		return errors.New(complaints.String())
	}
	return nil
}

type onWrite struct {
	about string
	then  func()
	done  bool
}

func (w *onWrite) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.about)) {
		w.done = true
		w.then()
	}
	return len(p), nil
}

// findLoss verifies a log that has lost everything.
func findLoss(ctx context.Context, u *user) error {
	js, err := jetstream.New(u.admin)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "shop")
	if err != nil {
		return err
	}
	was := stream.CachedInfo().Config
	short := was
	short.MaxAge, short.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	if _, err := js.UpdateStream(ctx, short); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		info, err := stream.Info(ctx)
		return err == nil && info.State.Msgs == 0, err
	}); err != nil {
		return err
	}
	if _, err := js.UpdateStream(ctx, was); err != nil {
		return err
	}
	err = u.command(ctx, "", "verify", "-log", "shop")
	if err == nil || strings.Contains(err.Error(), "log shop is damaged") {
		return nil
	}
	return err
}

// copyIn imports events, twice.
func copyIn(ctx context.Context, u *user) error {
	const events = `{"specversion":"1.0","id":"a","source":"s","type":"order.placed","subject":"9","time":"2026-01-02T03:04:05Z","data":{}}` + "\n"
	for range 2 {
		if err := u.command(ctx, events, "import", "-kind", "order", "-log", "shop"); err != nil {
			return err
		}
	}
	return nil
}
