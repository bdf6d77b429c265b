//go:build unix

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

// A fleet is a NATS cluster and the services on it, each node and instance a process.
type fleet struct {
	*testing.T
	random   *rand.Rand
	nodes    []*natsnode.Node
	orders   []*process
	payments []*process
	made     map[string]int // faults so far, by kind
}

// newFleet starts the cluster and the services, and waits until all of it is ready.
func newFleet(t *testing.T, random *rand.Rand, orders, payments int) *fleet {
	t.Helper()
	f := &fleet{T: t, random: random, nodes: natsnode.Start(t, 3), made: make(map[string]int)}
	for i := range orders {
		http := freeAddress(t)
		p := f.process("orders", i, "-http", http, "-deadline", "5s")
		p.http = http
		f.orders = append(f.orders, p)
	}
	for i := range payments {
		f.payments = append(f.payments, f.process("payments", i))
	}
	for _, p := range f.all() {
		p.start(t)
	}
	for _, p := range f.all() {
		f.awaitReady(p)
	}
	return f
}

// process returns a process of a service that is not started. It keeps its addresses.
func (f *fleet) process(service string, number int, args ...string) *process {
	f.Helper()
	health := freeAddress(f.T)
	p := newProcess(f.T, []string{
		"NATS_SERVERS=" + strings.Join(f.servers(), ","), "HEADWATER_REPLICAS=3",
		"HEADWATER_INSTANCE=" + fmt.Sprintf("%s-%d", service, number), "HEADWATER_HEALTH=" + health,
	}, append([]string{service}, args...)...)
	p.health = health
	return p
}

func (f *fleet) all() []*process { return slices.Concat(f.orders, f.payments) }

// freeAddress returns an address of the loopback interface that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (f *fleet) servers() (urls []string) {
	for _, n := range f.nodes {
		urls = append(urls, n.URL())
	}
	return urls
}

// awaitReady waits until a process is ready. One that ended, since its address was
// taken or the cluster was away for long, is started again.
func (f *fleet) awaitReady(p *process) {
	f.Helper()
	eventually(f.T, fmt.Sprintf("%q is ready", p.args), func() error {
		f.revive()
		_, err := readiness(p)
		return err
	})
}

// readiness returns what a process says of its parts, an error unless it is ready.
func readiness(p *process) (health service.Health, err error) {
	answer, err := http.Get("http://" + p.health + "/health/ready")
	if err != nil {
		return health, err
	}
	defer answer.Body.Close()
	err = json.NewDecoder(answer.Body).Decode(&health)
	if err == nil && health.Status != "ready" {
		err = fmt.Errorf("%+v", health)
	}
	return health, err
}

// fault makes one thing go wrong for a while.
func (f *fleet) fault() {
	f.revive()
	all := f.all()
	p := all[f.random.IntN(len(all))]
	n := f.nodes[f.random.IntN(len(f.nodes))]
	switch kind := f.random.IntN(6); kind {
	case 0, 1:
		f.made[p.args[1]+" killed"]++
		p.kill()
		f.while()
		p.start(f.T)
	case 2:
		f.made[p.args[1]+" paused"]++
		f.signal(p, syscall.SIGSTOP)
		f.while()
		f.signal(p, syscall.SIGCONT)
	case 3:
		f.made[p.args[1]+" restarted"]++
		if err := p.stop(); err != nil {
			f.Logf("%q ended: %v", p.args, err) // stopped before it was up, for example
			p.kill()
		}
		p.start(f.T)
	case 4:
		f.made["node killed"]++
		n.Kill()
		f.while()
		n.Restart(f.T)
	case 5:
		f.made["node paused"]++
		n.Pause(f.T)
		f.while()
		n.Resume(f.T)
	}
	f.while()
}

// revive starts the processes again that ended by themselves, as whoever runs services
// does: one gives up where it cannot start, or stop, since the cluster is away.
func (f *fleet) revive() {
	for _, p := range f.all() {
		select {
		case err := <-p.exited:
			f.Logf("%q ended: %v", p.args, err)
			p.start(f.T)
		default:
		}
	}
}

func (f *fleet) signal(p *process, s syscall.Signal) {
	f.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		f.Fatal(err)
	}
}

// while lets some time pass: up to two seconds.
func (f *fleet) while() {
	natsnode.Wait(f.random, 2*time.Second)
}

// Connect connects to the cluster.
func (f *fleet) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(strings.Join(f.servers(), ","), append(opts, nats.MaxReconnects(-1))...)
}
