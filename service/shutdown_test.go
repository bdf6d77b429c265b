package service_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
)

// childEnv is the variable that makes the test binary a service, which does what its
// value says.
const childEnv = "HEADWATER_TEST_SERVICE"

// TestServiceProcess is the program of the child processes. A process that ends well
// has left nothing running, as for any test.
func TestServiceProcess(t *testing.T) {
	what := os.Getenv(childEnv)
	if what == "" {
		t.Skip("it is for child processes")
	}
	c, err := service.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	svc, err := service.Start(t.Context(), c, &service.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	switch what {
	case "stuck":
		svc.OnStop(func(context.Context) error {
			fmt.Println("stopping")
			select {}
		})
	case "till":
		tillProcess(t, svc)
	case "pay":
		pay(t, svc.Log(), "front", 1)
	}
	svc.Go("greeter", func(ctx context.Context) error {
		eventually(t, func() error {
			if h := svc.Ready(ctx); h.Status != "ready" {
				return fmt.Errorf("got %+v", h)
			}
			return nil
		})
		fmt.Println("ready")
		return nil
	}, nil)
	if err := svc.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// tillProcess is a whole service: commands, a read model in a file, snapshots.
func tillProcess(t *testing.T, svc *service.Service) {
	dir := svc.Config().DataDir
	snapshots, err := snapshot.Open(filepath.Join(dir, "snapshots"), nil)
	if err != nil {
		t.Fatal(err)
	}
	svc.OnClose(func(context.Context) error { return snapshots.Close() })
	file, err := projection.OpenFile(filepath.Join(dir, "read-models"))
	if err != nil {
		t.Fatal(err)
	}
	svc.OnClose(func(context.Context) error { return file.Close() })
	income, err := projection.New("income", svc.Log(), projection.NewMemory[int](file, nil), incomeHandlers, nil)
	if err != nil {
		t.Fatal(err)
	}
	svc.Project(income, nil)
	tills := aggregate.NewRepository[Till](svc.Log(), "till", tillCodec, &aggregate.Options{
		Snapshots: snapshots, Policy: snapshot.Every(5),
	})
	responder, err := service.Respond(t.Context(), svc.Conn(), "cash", []service.Endpoint{
		service.Handle[Pay](tills, nil),
	}, &service.RespondOptions{InHand: svc.Config().MaxAckPending, Logger: svc.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	svc.OnStop(responder.Stop)
}

var incomeHandlers = projection.From("till", tillCodec,
	projection.On(func(_ context.Context, sum *int, e Paid, _ projection.Event) error {
		*sum += e.Amount
		return nil
	}))

// A process is a child.
type process struct {
	*exec.Cmd
	said   chan string // lines of its standard output
	stderr lines
}

// startProcess starts a child, which is a test, with an environment of its own.
func startProcess(t *testing.T, test string, env variables) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], "-test.run=^"+test+"$"), said: make(chan string, 100)}
	p.Env = os.Environ()
	for key, value := range env {
		p.Env = append(p.Env, key+"="+value)
	}
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(p.said)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.said <- scanner.Text()
		}
	})
	t.Cleanup(func() {
		_ = p.Process.Kill() // it has ended, unless the test failed
		reading.Wait()
		_ = p.Wait()
	})
	return p
}

// serviceProcess starts a child that is a service.
func serviceProcess(t *testing.T, what string, env variables) *process {
	t.Helper()
	env[childEnv] = what
	return startProcess(t, "TestServiceProcess", env)
}

func (p *process) await(t *testing.T, line string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got, ok := <-p.said:
			if got == line {
				return
			}
			if !ok {
				t.Fatalf("the child ended and did not say %q: %s", line, &p.stderr)
			}
		case <-deadline:
			t.Fatalf("the child did not say %q: %s", line, &p.stderr)
		}
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// end waits for the end, and returns the exit code, or the signal as a negative
// number, and what was said last.
func (p *process) end(t *testing.T) (code int, rest string) {
	t.Helper()
	var b bytes.Buffer
	for line := range p.said {
		fmt.Fprintln(&b, line)
	}
	err := p.Wait()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return -int(status.Signal()), b.String()
	}
	return p.ProcessState.ExitCode(), b.String()
}

// A service that is told to stop under load loses nothing: whoever asked gets an
// answer, from it or from another instance, its read model has what it had read, and
// its snapshots are on the disk.
func TestSignalUnderLoad(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	var dirs []string
	var instances []*process
	for i := range 2 {
		dirs = append(dirs, t.TempDir())
		p := serviceProcess(t, "till", variables{
			"NATS_URL": b.server.URL(), "HEADWATER_SERVICE": "cash", "HEADWATER_INSTANCE": fmt.Sprint("cash-", i), "HEADWATER_LOG": "test",
			"HEADWATER_DATA": dirs[i], "HEADWATER_HIGH_WATER": filepath.Join(dirs[i], "marks"), "HEADWATER_MAX_ACK_PENDING": "16",
		})
		instances = append(instances, p)
	}
	for _, p := range instances {
		p.await(t, "ready")
	}
	nc, err := b.server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	client, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	var mu sync.Mutex
	paid := 0
	enough := make(chan struct{})
	for i := range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.Execute(t.Context(), fmt.Sprint("till-", i), Pay{Amount: 1}, nil); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if paid++; paid == 100 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	instances[0].signal(t, syscall.SIGTERM)
	if code, rest := instances[0].end(t); code != 0 {
		t.Errorf("the first ended with %d: %s %s", code, rest, &instances[0].stderr)
	}
	cancel()
	load.Wait()
	instances[1].signal(t, syscall.SIGINT)
	if code, rest := instances[1].end(t); code != 0 {
		t.Errorf("the second ended with %d: %s %s", code, rest, &instances[1].stderr)
	}
	store, err := eventstore.Open(t.Context(), nc, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	requireTills(t, store, paid)
	requireFiles(t, store, dirs[1])
}

// requireTills fails unless the tills of a log got as much.
func requireTills(t *testing.T, store *eventstore.Store, want int) {
	t.Helper()
	tills := aggregate.NewRepository[Till](store, "till", tillCodec, nil)
	got := 0
	for i := range 8 {
		till, _, err := tills.Load(t.Context(), fmt.Sprint("till-", i))
		if err != nil {
			t.Fatal(err)
		}
		got += till.Total
	}
	if got != want {
		t.Errorf("%d commands were answered, and %d applied", want, got)
	}
}

// requireFiles fails unless a folder has what a service leaves that stopped well.
func requireFiles(t *testing.T, store *eventstore.Store, dir string) {
	t.Helper()
	snapshots, err := snapshot.Open(filepath.Join(dir, "snapshots"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshots.Close()
	kept := 0
	for _, err := range snapshots.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		kept++
	}
	if kept == 0 {
		t.Error("no snapshot is on the disk")
	}
	file, err := projection.OpenFile(filepath.Join(dir, "read-models"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	model := projection.NewMemory[int](file, nil)
	err = model.View(t.Context(), "income", func(sum *int) error {
		if *sum == 0 {
			t.Error("the read model was not saved")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A process with the server in it leaves a folder that the next one opens.
func TestSignalEmbedded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := serviceProcess(t, "pay", variables{"HEADWATER_DATA": dir, "HEADWATER_LOG": "test"})
		p.await(t, "ready")
		p.signal(t, s)
		if code, rest := p.end(t); code != 0 {
			t.Errorf("%v: it ended with %d: %s %s", s, code, rest, &p.stderr)
		}
		server, err := embedded.Start(t.Context(), filepath.Join(dir, "nats"), nil)
		if err != nil {
			t.Fatal(err)
		}
		nc, err := server.Connect()
		if err != nil {
			t.Fatal(err)
		}
		store, err := eventstore.Open(t.Context(), nc, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := store.Position(t.Context()); err != nil || got != uint64(n+1) {
			t.Errorf("the log ends at %d, %v", got, err)
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A second signal ends a process at once, whatever hangs.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := serviceProcess(t, "stuck", variables{"HEADWATER_DATA": t.TempDir(), "HEADWATER_SHUTDOWN_TIMEOUT": "10m"})
	p.await(t, "ready")
	p.signal(t, syscall.SIGTERM)
	p.await(t, "stopping")
	p.signal(t, syscall.SIGTERM)
	if code, rest := p.end(t); code != -int(syscall.SIGTERM) {
		t.Errorf("it ended with %d: %s", code, rest)
	}
}

// A shutdown ends in time, and says what did not.
func TestShutdownDeadline(t *testing.T) {
	t.Parallel()
	p := serviceProcess(t, "stuck", variables{"HEADWATER_DATA": t.TempDir(), "HEADWATER_SHUTDOWN_TIMEOUT": "400ms"})
	p.await(t, "ready")
	began := time.Now()
	p.signal(t, syscall.SIGTERM)
	code, rest := p.end(t)
	if code != 1 || !strings.Contains(rest, "did not end in time") {
		t.Errorf("it ended with %d: %s", code, rest)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What stops, stops in order.
func TestStopOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	did := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
		if svc.Conn().IsClosed() {
			t.Errorf("%s: there is no connection", what)
		}
		if got := svc.Ready(t.Context()).Status; got != "shutting down" {
			t.Errorf("%s: it is %s", what, got)
		}
	}
	svc.OnClose(func(context.Context) error { did("last"); return nil })
	svc.OnClose(func(context.Context) error { did("close"); return nil })
	svc.Go("part", func(ctx context.Context) error {
		<-ctx.Done()
		did("part")
		return nil
	}, nil)
	svc.OnStop(func(context.Context) error { did("work"); return nil })
	if err := svc.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "work part close last" {
		t.Errorf("it stopped in the order: %s", got)
	}
	if !svc.Conn().IsClosed() {
		t.Error("the connection is open")
	}
	svc.Go("late", func(context.Context) error { t.Error("it runs"); return nil }, nil)
	if err := svc.Run(t.Context()); err != nil { // returns at once
		t.Error(err)
	}
}

// Everything that fails is told, and stops nothing else; what hangs is given up.
func TestStopFails(t *testing.T) {
	t.Parallel()
	svc, err := service.Start(t.Context(), service.Config{Log: "test", ShutdownTimeout: 400 * time.Millisecond}, on(newHouse(t)))
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	wrong := []error{errors.New("wrong 0"), errors.New("wrong 1"), errors.New("wrong 2")}
	svc.OnStop(func(context.Context) error { return wrong[0] })
	svc.Go("bad", func(ctx context.Context) error { <-ctx.Done(); return wrong[1] }, nil)
	svc.Go("hung", func(context.Context) error { <-release; return nil }, nil)
	svc.OnClose(func(context.Context) error { return wrong[2] })
	err = svc.Stop(t.Context())
	for _, want := range wrong {
		if !errors.Is(err, want) {
			t.Errorf("it does not tell %q: %v", want, err)
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "background hung") {
		t.Errorf("it does not tell what hangs: %v", err)
	}
	if again := svc.Stop(t.Context()); again == nil || again.Error() != err.Error() {
		t.Errorf("the second time: %v", again)
	}
	if !svc.Conn().IsClosed() {
		t.Error("the connection is open")
	}
}

// A service whose server is away stops all the same.
func TestStopDisconnected(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	w := newWatcher()
	svc := startService(t, service.Config{Servers: []string{b.address}, Log: "shop"}, w.options())
	svc.Project(newIncome(t, svc, nil), nil)
	b.stop(t)
	w.await(t, service.Disconnected)
	if err := svc.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !errors.Is(svc.Conn().Publish("a", nil), nats.ErrConnectionClosed) {
		t.Error("the connection is open")
	}
}
