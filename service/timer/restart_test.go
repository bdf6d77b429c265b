package timer_test

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func start(t *testing.T, dir string, opts embedded.Options) *embedded.Server {
	t.Helper()
	opts.Relaxed = true
	server, err := embedded.Start(t.Context(), dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopServer(t, server) })
	return server
}

func stopServer(t *testing.T, server *embedded.Server) {
	t.Helper()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

// What became due while no server ran is called when one does, and what was not due
// yet at its time. What was cancelled is not, and what was to be called again is.
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := start(t, dir, embedded.Options{})
	nc := testutil.Connect(t, server)
	timers := open(t, nc, &timer.Options{Attempts: 1})
	stop := run(t, timers, (&calls{answer: func(timer.Timer) error { return errFailed }}).fire)
	set(t, timers, "dead", 0, "")
	until(t, "a dead timer", func() bool { return len(dead(t, timers)) == 1 })
	stop()
	set(t, timers, "due", 0, "")
	until(t, "a timer that is due", func() bool { return pending(t, nc, "due") == 1 })
	overdue := set(t, timers, "overdue", time.Second, "")
	set(t, timers, "later", 5*time.Second, "")
	set(t, timers, "cancelled", time.Second, "")
	if err := timers.Cancel(t.Context(), "cancelled"); err != nil {
		t.Fatal(err)
	}
	stopServer(t, server)
	until(t, "a timer to be overdue", func() bool { return time.Now().After(overdue.At) })

	nc = testutil.Connect(t, start(t, dir, embedded.Options{}))
	timers = open(t, nc, nil)
	c := &calls{}
	run(t, timers, c.fire)
	for _, id := range []string{"due", "overdue", "later"} {
		c.called(t, id, 1)
	}
	if got := dead(t, timers); len(got) != 1 || got[0].ID != "dead" {
		t.Errorf("dead: %+v", got)
	}
	if err := timers.Cancel(t.Context(), "dead"); err != nil {
		t.Error(err)
	}
	empty(t, nc)
	if len(c.all) != 3 {
		t.Errorf("calls: %+v", c.all)
	}
}

// While somebody runs, the server is restarted under the same address.
func TestDisconnected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := start(t, dir, embedded.Options{Listen: "127.0.0.1:0"})
	url := server.URL()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	timers := open(t, nc, &timer.Options{Logger: logger(t)})
	var holds atomic.Bool
	holds.Store(true)
	hold := make(chan struct{})
	c := &calls{answer: func(due timer.Timer) error {
		if due.ID == "during" && holds.Load() {
			<-hold
		}
		return nil
	}}
	run(t, timers, c.fire)
	set(t, timers, "before", 0, "")
	set(t, timers, "during", 0, "")
	set(t, timers, "after", 3*time.Second, "")
	c.called(t, "before", 1)
	c.called(t, "during", 1)
	stopServer(t, server)
	until(t, "the connection to be lost", func() bool { return !nc.IsConnected() })
	holds.Store(false)
	close(hold)
	start(t, dir, embedded.Options{Listen: strings.TrimPrefix(url, "nats://")})
	c.called(t, "after", 1)
	set(t, timers, "then", 0, "")
	c.called(t, "then", 1)
	empty(t, nc)
}

// The server's process is killed at random moments, while timers are set and become due.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	const kills = 6
	dir := t.TempDir()
	// It is known which port is free once a server had it.
	first := start(t, dir, embedded.Options{Listen: "127.0.0.1:0"})
	url := first.URL()
	stopServer(t, first)
	kill := killable(t, dir, strings.TrimPrefix(url, "nats://"))
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	timers := open(t, nc, &timer.Options{Attempts: 1 << 20, Logger: logger(t)})
	timer.SetAckWait(timers, time.Second)
	c := &calls{}
	run(t, timers, c.fire)
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	count := 0
	for range kills {
		for end := time.Now().Add(time.Duration(300+rng.IntN(700)) * time.Millisecond); time.Now().Before(end); count++ {
			due := timer.Timer{ID: fmt.Sprint(count), At: time.Now().Add(time.Duration(rng.IntN(1000)) * time.Millisecond)}
			if err := timers.Set(t.Context(), due); err != nil {
				t.Fatal(err)
			}
		}
		kill()
		kill = killable(t, dir, strings.TrimPrefix(url, "nats://"))
	}
	called := make(map[string]bool)
	c.await(t, "all timers", func(all []timer.Timer) bool {
		for _, due := range all {
			called[due.ID] = true
		}
		return len(called) == count
	})
	empty(t, nc)
	t.Logf("%d timers, %d calls", count, len(c.all))
}

// killable starts a server in a process of its own.
func killable(t *testing.T, dir, address string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir+"\n"+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // says that it was killed
	})
	t.Cleanup(kill)
	return kill
}

// A process is killed after the call has begun and before it is done.
func TestProcessKilled(t *testing.T) {
	t.Parallel()
	server := start(t, t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	nc := testutil.Connect(t, server)
	timers := open(t, nc, nil)
	timer.SetAckWait(timers, time.Second)
	set(t, timers, "a", 0, "data")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+server.URL())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "a 1\n" {
		t.Errorf("the process said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // says that it was killed
	c := &calls{}
	run(t, timers, c.fire)
	c.called(t, "a", 1)
	if got := c.of("a")[0]; got.Attempt < 2 || string(got.Data) != "data" {
		t.Errorf("called with %+v", got)
	}
	empty(t, nc)
}

// A timer that kills its process is dead in the end too, and not before it could be
// called often enough.
func TestProcessesEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ attempts, taken, calls int }{{1, 13, 0}, {1, 9, 1}, {math.MaxInt, 20, 1}} {
		t.Run(fmt.Sprintf("%d times", test.taken), func(t *testing.T) {
			t.Parallel()
			nc := testutil.Connect(t, testutil.Server(t))
			timers := open(t, nc, &timer.Options{Attempts: test.attempts})
			c := &calls{}
			stop := run(t, timers, c.fire)
			set(t, timers, "first", 0, "")
			c.called(t, "first", 1)
			stop()
			set(t, timers, "a", 0, "")
			lose(t, nc, test.taken)
			run(t, timers, c.fire)
			c.called(t, "a", test.calls)
			if test.calls > 0 {
				empty(t, nc)
				return
			}
			until(t, "a dead timer", func() bool { return len(dead(t, timers)) == 1 })
			if len(c.of("a")) > 0 {
				t.Errorf("calls: %+v", c.all)
			}
		})
	}
}

// lose takes a timer so often, and gives it back.
func lose(t *testing.T, nc *nats.Conn, times int) {
	t.Helper()
	consumer, err := stream(t, nc).Consumer(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	for times > 0 {
		m, err := consumer.Next()
		if err != nil {
			t.Log(err)
			continue
		}
		times--
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
}

// A server without space cannot make timers due, and forgets them. They are called all
// the same.
func TestForgotten(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, start(t, t.TempDir(), embedded.Options{MaxStore: 1 << 20}))
	timers := open(t, nc, &timer.Options{Logger: logger(t)})
	timer.SetOverdue(timers, 2*time.Second)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	filler, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "filler", Subjects: []string{"filler"}})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(3 * time.Second)
	for i := range 20 {
		if err := timers.Set(t.Context(), timer.Timer{ID: fmt.Sprint(i), At: at, Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{10_000, 1} {
		for err = nil; err == nil; {
			_, err = js.Publish(t.Context(), "filler", make([]byte, size))
		}
	}
	if time.Now().After(at) {
		t.Skip("the machine is too busy")
	}
	late := at.Add(time.Second)
	until(t, "timers to be overdue", func() bool { return time.Now().After(late) })
	if err := filler.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &calls{}
	run(t, timers, c.fire)
	for i := range 20 {
		c.called(t, fmt.Sprint(i), 1)
		if got := c.of(fmt.Sprint(i))[0]; !got.At.Equal(at) || string(got.Data) != fmt.Sprint(i) {
			t.Errorf("called with %+v", got)
		}
	}
	empty(t, nc)
}

// On three nodes, the one that leads the stream is stopped again and again.
func TestLeaderStopped(t *testing.T) {
	t.Parallel()
	cluster := testutil.Cluster(t)
	nc := testutil.Connect(t, cluster)
	timers := open(t, nc, &timer.Options{Replicas: 3, Logger: logger(t)})
	c := &calls{}
	run(t, timers, c.fire)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, each = 3, 100
	for round := range rounds {
		at := time.Now().Add(2 * time.Second)
		for i := range each {
			// Some are due before the leader stops, some while there is none.
			due := timer.Timer{ID: fmt.Sprintf("%d.%d", round, i), At: at.Add(time.Duration(i) * 20 * time.Millisecond)}
			if err := timers.Set(t.Context(), due); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "timers that are due", func() bool { return time.Now().After(at.Add(500 * time.Millisecond)) })
		stream, err := js.Stream(t.Context(), "test-timers")
		if err != nil {
			t.Fatal(err)
		}
		var leader int
		if _, err := fmt.Sscanf(stream.CachedInfo().Cluster.Leader, "node-%d", &leader); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Stop(leader); err != nil {
			t.Fatal(err)
		}
		for i := range each {
			c.called(t, fmt.Sprintf("%d.%d", round, i), 1)
		}
		if err := cluster.Restart(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "an empty stream", func() bool {
		stream, err := js.Stream(t.Context(), "test-timers")
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
	t.Logf("%d timers, %d calls", rounds*each, len(c.all))
}
