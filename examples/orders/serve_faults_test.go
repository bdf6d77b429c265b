package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

// ends are cards, and how orders that are placed with them end.
var ends = map[string]string{"tok": order.StagePaid, "declined": order.StageCancelled, "silent": order.StageCancelled}

// placeAll places an order with each card, and returns their ids.
func (d *desk) placeAll(round int) (ids []string) {
	d.t.Helper()
	for card := range ends {
		id := fmt.Sprintf("%s-%d", card, round)
		d.place(id, card)
		ids = append(ids, id)
	}
	return ids
}

// checkEnds checks that orders of placeAll ended as they should.
func (d *desk) checkEnds(ids []string) {
	d.t.Helper()
	stages := d.checkMoney()
	for _, id := range ids {
		card, _, _ := strings.Cut(id, "-")
		if stages[id] == ends[card] {
			continue
		}
		// While nobody was there, or the machine had no time, the deadline came.
		if s := d.find(id); s.Stage != order.StageCancelled || !strings.Contains(s.Reason, "not authorised in time") {
			d.t.Errorf("order %s is %+v, want it %s", id, s, ends[card])
		}
	}
	if len(stages) != len(ids) {
		d.t.Errorf("there are %d orders, want %d", len(stages), len(ids))
	}
}

// forgetEffects removes what the services note of the effects that they have done.
func (d *desk) forgetEffects() {
	d.t.Helper()
	js, err := jetstream.New(d.nc)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, bucket := range []string{"orders-effects", "payments-effects"} {
		if err := js.DeleteKeyValue(d.ctx, bucket); err != nil {
			d.t.Fatal(err)
		}
	}
}

// nothing are the handlers of a projection that does not run.
var nothing = projection.From(checkout.Kind, checkout.Codec,
	projection.On(func(context.Context, struct{}, checkout.Done, projection.Event) error { return nil }))

// awaitEffects waits until all effects are done of what is in the logs.
func (d *desk) awaitEffects() {
	d.t.Helper()
	for _, p := range []struct{ name, log, bucket string }{
		{"checkout", "orders-log", "orders-effects"}, {"to-payments", "orders-log", "orders-effects"},
		{"from-payments", "payments-log", "orders-effects"}, {"provider", "payments-log", "payments-effects"},
	} {
		log := d.log(p.log)
		bucket, err := projection.OpenKV(d.ctx, d.nc, p.bucket, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		same, err := projection.New(p.name, log, projection.NewEffects(bucket), nothing, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		end, err := log.Position(d.ctx)
		if err != nil {
			d.t.Fatal(err)
		}
		if err := same.Wait(d.ctx, eventstore.Revision{Position: end}); err != nil {
			d.t.Fatal(err)
		}
		if parked, err := same.Parked(d.ctx); err != nil || len(parked) > 0 {
			d.t.Errorf("%s: parked are %v, %v", p.name, parked, err)
		}
	}
}

// TestServeRestarts stops and starts the services while orders are on their way, and
// every other time lets them forget which effects they have done.
func TestServeRestarts(t *testing.T) {
	t.Parallel()
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	var ids []string
	rounds := 4
	for round := range rounds {
		svc := startServices(t, server, dir, 500*time.Millisecond)
		ids = append(ids, d.placeAll(round)...)
		stop(t, svc)
		if round%2 == 1 {
			d.forgetEffects()
		}
	}
	svc := startServices(t, server, dir, 500*time.Millisecond)
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	d.checkList(svc)
}

// TestServeEffectsAgain does all effects of ended orders again. Nothing may come of it.
func TestServeEffectsAgain(t *testing.T) {
	t.Parallel()
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	svc := startServices(t, server, dir, time.Hour)
	for id, card := range map[string]string{"paid": "tok", "shipped": "tok", "refunded": "tok", "declined": "declined"} {
		d.place(id, card)
	}
	d.awaitEnds("paid", "shipped", "refunded", "declined")
	if _, err := d.orders.Execute(d.ctx, "shipped", order.Ship{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.orders.Execute(d.ctx, "refunded", order.Cancel{}, nil); err != nil {
		t.Fatal(err)
	}
	d.awaitCheckouts(checkout.Failed{}.EventType(), "refunded")
	stop(t, svc)
	svc = startServices(t, server, dir, time.Millisecond)
	d.place("silent", "silent")
	d.awaitEnds("silent")
	d.awaitEffects()
	stop(t, svc)
	before := d.positions()

	d.forgetEffects()
	svc = startServices(t, server, dir, time.Millisecond)
	d.awaitEffects()
	// The deadlines are over again, of those who have one no more.
	d.place("last", "silent")
	d.awaitEnds("last")
	stop(t, svc)
	d.checkMoney()
	for _, name := range []string{"orders-log", "payments-log"} {
		for e, err := range d.log(name).Log(d.ctx, before[name], nil) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Stream.ID != "last" {
				t.Errorf("%s %s came of effects that were done again", e.Stream, e.Type)
			}
		}
	}
}

// TestServeEffectsFail has each effect fail three times: before it is done, when it is
// done and nobody knows, and broken off in the middle. It is done once all the same.
func TestServeEffectsFail(t *testing.T) {
	t.Parallel()
	f := &faults{tries: make(map[string]int)}
	server, dir := testutil.Server(t), t.TempDir()
	d := newDesk(t, server)
	svc := startServing(t, server, dir, orders.Serving{Deadline: time.Hour, Effect: f.around})
	for id, card := range map[string]string{"paid": "tok", "refunded": "tok", "declined": "declined"} {
		d.place(id, card)
	}
	d.awaitEnds("paid", "refunded", "declined")
	if _, err := d.orders.Execute(d.ctx, "refunded", order.Cancel{}, nil); err != nil {
		t.Fatal(err)
	}
	d.awaitCheckouts(checkout.Failed{}.EventType(), "refunded")
	stop(t, svc)
	startServing(t, server, dir, orders.Serving{Deadline: 10 * time.Millisecond, Effect: f.around})
	d.place("silent", "silent")
	d.awaitEnds("silent")
	d.awaitEffects()
	stages := d.checkMoney()
	for id, stage := range map[string]string{"paid": "paid", "refunded": "cancelled", "declined": "cancelled", "silent": "cancelled"} {
		if stages[id] != stage {
			t.Errorf("order %s is %s", id, stages[id])
		}
	}
	for effect, n := range f.tries {
		if n < 4 {
			t.Errorf("%s failed %d times", effect, n-1)
		}
	}
	if len(f.tries) < 30 {
		t.Errorf("there were %d effects", len(f.tries))
	}
}

// faults has each effect of each projection fail three times.
type faults struct {
	mu    sync.Mutex
	tries map[string]int
}

func (f *faults) try(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries[key]++
	return f.tries[key]
}

func (f *faults) around(name string) orders.Around {
	lost := &projection.Transient{Err: errors.New("lost")}
	return func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
		switch f.try(fmt.Sprint(name, at.Stream, at.Version)) {
		case 1:
			return lost
		case 2:
			return errors.Join(next(ctx), lost)
		case 3:
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return errors.Join(next(ctx), lost)
		}
		return next(ctx)
	}
}

func (d *desk) positions() map[string]uint64 {
	d.t.Helper()
	at := make(map[string]uint64)
	for _, name := range []string{"orders-log", "payments-log"} {
		var err error
		if at[name], err = d.log(name).Position(d.ctx); err != nil {
			d.t.Fatal(err)
		}
	}
	return at
}

// listening starts a server that child processes can reach.
func listening(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), t.TempDir(), &embedded.Options{Relaxed: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// process is a child that serves.
type process struct {
	*exec.Cmd
	errors bytes.Buffer
	health string // URLs
	page   string
}

// serveChild starts 'orders serve' as a process, and waits until it has started.
func serveChild(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: child(t, append([]string{"serve"}, args...)...)}
	p.Env = append(p.Env, "HEADWATER_HEALTH=127.0.0.1:0")
	p.Env = append(p.Env, env...)
	p.Stderr = &p.errors
	lines := bufio.NewScanner(start(t, p.Cmd))
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "page    "); ok {
			p.page = url
		}
		if url, ok := strings.CutPrefix(lines.Text(), "health  "); ok {
			p.health = url
			go func() {
				for lines.Scan() { // so that it can go on printing
				}
			}()
			return p
		}
	}
	t.Fatalf("%q ended: %v\n%s", args, p.Wait(), p.errors.String())
	return nil
}

// terminate sends SIGTERM and requires that the process succeeds.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("terminated: %v\n%s", err, p.errors.String())
	}
}

// TestServeKilled kills both services, SIGKILL, whenever a checkout has just said what
// it wants, so that the effect is done, or half of it, or is not; and starts them
// again.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	moments := []eventstore.Typed{
		checkout.PaymentWanted{}, checkout.CaptureWanted{}, checkout.MoneyTaken{}, checkout.CancelWanted{},
		checkout.OrderClosed{}, order.Paid{}, checkout.MoneyFree{}, checkout.Done{},
	}
	if testing.Short() {
		moments = moments[1:4]
	}
	server := listening(t)
	d := newDesk(t, server)
	env := []string{"NATS_SERVERS=" + server.URL(), "HEADWATER_DATA=" + t.TempDir()}
	var ids []string
	for round, moment := range moments {
		p := serveChild(t, env, "-deadline", "5s")
		after, err := d.log("orders-log").Position(d.ctx)
		if err != nil {
			t.Fatal(err)
		}
		these := d.placeAll(round)
		ids = append(ids, these...)
		ended := 0 // without that moment, since all deadlines were over
		for e, err := range d.log("orders-log").Follow(d.ctx, after, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == (checkout.Failed{}).EventType() && slices.Contains(these, e.Stream.ID) {
				ended++
			}
			if e.Type == moment.EventType() || ended == len(these) {
				break
			}
		}
		p.kill(t)
	}
	p := serveChild(t, env, "-deadline", "1s")
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	p.terminate(t)
}

// TestServeTerminated terminates processes of both services in the middle of the
// work, and starts others. No command fails, and no process does.
func TestServeTerminated(t *testing.T) {
	t.Parallel()
	server := listening(t)
	d := newDesk(t, server)
	env := func() []string {
		return []string{"NATS_SERVERS=" + server.URL(), "HEADWATER_DATA=" + t.TempDir()}
	}
	running := []*process{serveChild(t, env(), "payments"), serveChild(t, env(), "orders", "-deadline", "2s")}
	var ids []string
	var placing sync.WaitGroup
	for round := range 20 {
		for card := range ends {
			ids = append(ids, fmt.Sprintf("%s-%d", card, round))
		}
		placing.Go(func() { d.placeAll(round) })
	}
	// The other ones come before these go, so that somebody answers at all times.
	others := []*process{serveChild(t, env(), "payments"), serveChild(t, env(), "orders", "-deadline", "2s")}
	for _, p := range running {
		p.terminate(t)
	}
	placing.Wait()
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	for _, p := range others {
		p.terminate(t)
	}
}

// TestServeWithoutPayments has deadlines that are over while no payments service runs.
// Orders are cancelled in time all the same, and what it does later comes to nothing.
func TestServeWithoutPayments(t *testing.T) {
	t.Parallel()
	server := listening(t)
	d := newDesk(t, server)
	env := func() []string {
		return []string{"NATS_SERVERS=" + server.URL(), "HEADWATER_DATA=" + t.TempDir()}
	}
	shop := serveChild(t, env(), "orders", "-deadline", "10ms")
	ids := d.placeAll(1)
	cancelled := order.Cancelled{}.EventType()
	d.await(d.log("orders-log"), order.Kind, func(e eventstore.Event) bool { return e.Type == cancelled }, ids...)
	payments := serveChild(t, env(), "payments")
	d.awaitEnds(ids...)
	d.awaitEffects()
	for id, stage := range d.checkMoney() {
		if stage != order.StageCancelled {
			t.Errorf("order %s is %s", id, stage)
		}
	}
	shop.terminate(t)
	payments.terminate(t)
}

// TestServeAlone runs both services in one process with a server of its own.
func TestServeAlone(t *testing.T) {
	t.Parallel()
	env := []string{"HEADWATER_DATA=" + t.TempDir(), "HEADWATER_SERVICE=other", "HEADWATER_LOG=other-log"}
	for range 2 {
		p := serveChild(t, env)
		answer, err := http.Get(strings.Replace(p.health, "ready", "live", 1))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("health: %s", answer.Status)
		}
		p.terminate(t)
	}
}

func TestServeWrong(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "orders"}, "NATS_SERVERS"},
		{[]string{"serve", "payments"}, "NATS_SERVERS"},
		{[]string{"serve", "shipping"}, `an argument too many: "shipping"`},
		{[]string{"serve", "-deadline", "0s"}, "deadline"},
		{[]string{"serve", "-deadline", "soon"}, "deadline"},
	} {
		if r := run(test.args...); r.status != 2 || !strings.Contains(r.errors, test.want) {
			t.Errorf("%q: %d, %q", test.args, r.status, r.errors)
		}
	}
	t.Setenv("NATS_SERVERS", "nats://127.0.0.1:1")
	if r := run("serve", "payments", "-http", "localhost:0"); r.status != 2 || !strings.Contains(r.errors, "-http") {
		t.Errorf("payments with a page: %d, %q", r.status, r.errors)
	}
	t.Setenv("HEADWATER_REPLICAS", "4")
	if r := run("serve"); r.status != 1 || !strings.Contains(r.errors, "HEADWATER_REPLICAS") {
		t.Errorf("4 replicas: %d, %q", r.status, r.errors)
	}
}

// TestServeCluster has three processes of the orders and two of the payments on three
// NATS nodes, told so by nothing but their environment. One of each is killed, and a
// node is, while orders are placed.
func TestServeCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some time")
	}
	t.Parallel()
	cluster := testutil.Cluster(t)
	d := newDesk(t, cluster)
	var urls []string
	for i := range 3 {
		urls = append(urls, cluster.Node(i).URL())
	}
	env := func() []string {
		return []string{"NATS_SERVERS=" + strings.Join(urls, ","), "HEADWATER_REPLICAS=3", "HEADWATER_DATA=" + t.TempDir()}
	}
	payments := []*process{serveChild(t, env(), "payments"), serveChild(t, env(), "payments")}
	var shops []*process
	for range 3 {
		shops = append(shops, serveChild(t, env(), "orders", "-deadline", "5s"))
	}
	var ids []string
	for round := range 9 {
		switch round {
		case 3:
			shops[0].kill(t)
		case 5:
			payments[0].kill(t)
		case 7:
			if err := cluster.Stop(2); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, d.placeAll(round)...)
	}
	if err := cluster.Restart(d.ctx, 2); err != nil {
		t.Fatal(err)
	}
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	for _, p := range append(shops[1:], payments[1]) {
		p.terminate(t)
	}
}

// kill sends SIGKILL.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait()
}
