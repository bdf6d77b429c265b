//go:build unix

package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/nats-io/nats.go"
)

// A fleet is a NATS cluster and the services on it, each node and instance a process.
type fleet struct {
	*testing.T
	random    *rand.Rand
	nodes     []*natsnode.Node
	instances []*instance
	made      map[string]int // faults so far, by kind
}

// An instance is a process of a service.
type instance struct {
	service, name string
	dir           string // of its data
	args          []string
	env           []string
	http, health  string // host:port; http is empty for payments
	log           *os.File

	cmd    *exec.Cmd
	exited chan error // what Wait returned
}

// newFleet starts the cluster and the services, and waits until all of it is ready.
func newFleet(t *testing.T, random *rand.Rand, orders, payments int) *fleet {
	t.Helper()
	f := &fleet{T: t, random: random, nodes: natsnode.Start(t, 3), made: make(map[string]int)}
	dir := t.TempDir()
	for i := range orders {
		f.add(dir, "orders", i, "-http", freeAddress(t), "-deadline", "5s")
	}
	for i := range payments {
		f.add(dir, "payments", i)
	}
	for _, i := range f.instances {
		f.start(i)
	}
	for _, i := range f.instances {
		f.awaitReady(i)
	}
	return f
}

func (f *fleet) add(dir, service string, number int, args ...string) {
	i := &instance{service: service, name: fmt.Sprintf("%s-%d", service, number), health: freeAddress(f.T)}
	i.dir = filepath.Join(dir, i.name)
	i.args = append([]string{"serve", service}, args...)
	if len(args) > 1 {
		i.http = args[1]
	}
	i.env = []string{
		"NATS_SERVERS=" + strings.Join(f.servers(), ","), "HEADWATER_INSTANCE=" + i.name, "HEADWATER_REPLICAS=3",
		"HEADWATER_DATA=" + i.dir, "HEADWATER_HEALTH=" + i.health,
	}
	var err error
	if i.log, err = os.Create(i.dir + ".log"); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		f.kill(i)
		_ = i.log.Close()
		if f.Failed() {
			f.printLog(i)
		}
	})
	f.instances = append(f.instances, i)
}

// printLog prints the last lines that an instance logged.
func (f *fleet) printLog(i *instance) {
	text, err := os.ReadFile(i.log.Name())
	if err != nil {
		f.Error(err)
		return
	}
	const most = 8 << 10
	f.Logf("%s logged at the end:\n%s", i.name, text[max(0, len(text)-most):])
}

func (f *fleet) servers() (urls []string) {
	for _, n := range f.nodes {
		urls = append(urls, n.URL())
	}
	return urls
}

func (f *fleet) start(i *instance) {
	f.Helper()
	cmd := exec.Command(os.Args[0], i.args...)
	cmd.Env = append(append(os.Environ(), childEnv+"=1"), i.env...)
	cmd.Stdout, cmd.Stderr = i.log, i.log
	natsnode.Apart(cmd)
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	i.cmd, i.exited = cmd, make(chan error, 1)
	go func(exited chan error) { exited <- cmd.Wait() }(i.exited)
}

// kill ends a process as kill -9 does, if it runs.
func (f *fleet) kill(i *instance) {
	if i.cmd == nil {
		return
	}
	_ = i.cmd.Process.Kill() // fails where it has ended already
	<-i.exited
	i.cmd = nil
}

// stop ends a process by SIGTERM, and returns how it ended.
func (f *fleet) stop(i *instance) error {
	f.Helper()
	f.signal(i, syscall.SIGTERM)
	select {
	case err := <-i.exited:
		i.cmd = nil
		return err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

func (f *fleet) signal(i *instance, s syscall.Signal) {
	f.Helper()
	if err := i.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		f.Fatal(err)
	}
}

// patience is for what takes a moment on a machine that is not busy.
const patience = 2 * time.Minute

// awaitReady waits until an instance is ready. One that ended, since its address was
// taken or the cluster was away for long, is started again.
func (f *fleet) awaitReady(i *instance) {
	f.Helper()
	f.eventually(i.name+" is ready", func() error {
		f.revive()
		answer, err := http.Get("http://" + i.health + "/health/ready")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", answer.Status)
		}
		return nil
	})
}

// eventually waits until something is so.
func (f *fleet) eventually(what string, is func() error) {
	f.Helper()
	deadline := time.After(patience)
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			f.Fatalf("%s: %v", what, err)
		}
	}
}

// fault makes one thing go wrong for a while.
func (f *fleet) fault() {
	f.revive()
	i := f.instances[f.random.IntN(len(f.instances))]
	n := f.nodes[f.random.IntN(len(f.nodes))]
	switch kind := f.random.IntN(6); kind {
	case 0, 1:
		f.made[i.service+" killed"]++
		f.kill(i)
		f.while()
		f.start(i)
	case 2:
		f.made[i.service+" paused"]++
		f.signal(i, syscall.SIGSTOP)
		f.while()
		f.signal(i, syscall.SIGCONT)
	case 3:
		f.made[i.service+" restarted"]++
		if err := f.stop(i); err != nil {
			f.Logf("%s ended: %v", i.name, err) // killed before it was up, for example
			f.kill(i)
		}
		f.start(i)
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
	for _, i := range f.instances {
		select {
		case err := <-i.exited:
			f.Logf("%s ended: %v", i.name, err)
			f.start(i)
		default:
		}
	}
}

// while lets some time pass: up to three seconds.
func (f *fleet) while() {
	time.Sleep(time.Duration(f.random.Int64N(int64(3 * time.Second))))
}

// open opens the log of a service.
func (f *fleet) open(log string) *eventstore.Store {
	f.Helper()
	nc, err := nats.Connect(strings.Join(f.servers(), ","), nats.MaxReconnects(-1))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(nc.Close)
	store, err := eventstore.Open(f.Context(), nc, log, &eventstore.Options{Replicas: 3})
	if err != nil {
		f.Fatal(err)
	}
	return store
}
