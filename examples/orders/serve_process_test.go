package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/testutil"
)

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
