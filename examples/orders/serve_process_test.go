package main_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/internal/natsnode"
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

// process is a child that serves. It may run several times, one after the other.
type process struct {
	args, env    []string
	dir          string   // of its data
	http, health string   // host:port; http is empty where there is no page
	log          *os.File // what it prints

	cmd    *exec.Cmd  // nil while it does not run
	exited chan error // what Wait returned
}

// newProcess returns 'orders serve' as a process that has not been started. It ends with
// the test, which tells what it printed if it fails.
func newProcess(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{args: append([]string{"serve"}, args...), dir: filepath.Join(dir, "data"), log: log}
	p.env = append([]string{"HEADWATER_DATA=" + p.dir, "HEADWATER_HEALTH=127.0.0.1:0"}, env...)
	t.Cleanup(func() {
		p.kill()
		if text := p.printed(); t.Failed() {
			const most = 8 << 10
			t.Logf("%q printed at the end:\n%s", args, text[max(0, len(text)-most):])
		}
		_ = log.Close()
	})
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	cmd := child(t, p.args...)
	cmd.Env = append(cmd.Env, p.env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	natsnode.Apart(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd, p.exited = cmd, make(chan error, 1)
	go func(exited chan error) { exited <- cmd.Wait() }(p.exited)
}

// kill ends a process as kill -9 does, if it runs.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails where it has ended already
	<-p.exited
	p.cmd = nil
}

// stop ends a process by SIGTERM, and returns how it ended.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.exited:
		p.cmd = nil
		return err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

// terminate stops a process, which is to succeed.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.stop(); err != nil {
		t.Errorf("terminated: %v", err)
	}
}

// printed returns what a process has printed so far.
func (p *process) printed() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(text)
}

// patience is for what takes a moment on a machine that is not busy.
const patience = 2 * time.Minute

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() error) {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// announced are the addresses that a process says it has.
var announced = regexp.MustCompile(`(?m)(?:^page    http://(\S+)/\n)?^health  http://(\S+)/health/ready\n`)

// serve starts a process, and waits until it says where it serves.
func (p *process) serve(t *testing.T) {
	t.Helper()
	before := len(p.printed())
	p.start(t)
	eventually(t, fmt.Sprintf("%q has started", p.args), func() error {
		said := announced.FindStringSubmatch(p.printed()[before:])
		if said == nil {
			return errors.New("it does not say so")
		}
		p.http, p.health = said[1], said[2]
		return nil
	})
}

// serveChild returns a process that serves.
func serveChild(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := newProcess(t, env, args...)
	p.serve(t)
	return p
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
	p := newProcess(t, []string{"NATS_SERVERS=" + server.URL()}, "-deadline", "5s")
	var ids []string
	for round, moment := range moments {
		p.serve(t)
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
		p.kill()
	}
	p.serve(t)
	d.awaitEnds(ids...)
	d.awaitEffects()
	d.checkEnds(ids)
	p.terminate(t)
}

// TestServeWithoutPayments has deadlines that are over while no payments service runs.
// Orders are cancelled in time all the same, and what it does later comes to nothing.
func TestServeWithoutPayments(t *testing.T) {
	t.Parallel()
	server := listening(t)
	d := newDesk(t, server)
	env := []string{"NATS_SERVERS=" + server.URL()}
	shop := serveChild(t, env, "orders", "-deadline", "10ms")
	ids := d.placeAll(1)
	cancelled := order.Cancelled{}.EventType()
	d.await(d.log("orders-log"), order.Kind, func(e eventstore.Event) bool { return e.Type == cancelled }, ids...)
	payments := serveChild(t, env, "payments")
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
	p := newProcess(t, []string{"HEADWATER_SERVICE=other", "HEADWATER_LOG=other-log"})
	for range 2 {
		p.serve(t)
		answer, err := http.Get("http://" + p.health + "/health/live")
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
