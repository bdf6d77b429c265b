package timer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// patience bounds what should never take long.
const patience = 2 * time.Minute

// childEnv says what a process that is killed is to do: to be called for timers of a
// server, whose URL it has, or a server, of which it has the folder and the address.
const childEnv = "HEADWATER_TIMER_CHILD"

func TestMain(m *testing.M) {
	natsnode.Main()
	if args := os.Getenv(childEnv); args != "" {
		if err := child(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func child(args string) error {
	if dir, address, ok := strings.Cut(args, "\n"); ok {
		return serve(dir, address)
	}
	return hang(args)
}

// serve runs a server, and does not return.
func serve(dir, address string) error {
	if _, err := embedded.Start(context.Background(), dir, &embedded.Options{Relaxed: true, Listen: address}); err != nil {
		return err
	}
	select {}
}

// hang says which timer it is called for, and does not return.
func hang(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	timers, err := timer.Open(context.Background(), nc, "test", nil)
	if err != nil {
		return err
	}
	timer.SetAckWait(timers, time.Second)
	return timers.Run(context.Background(), func(_ context.Context, due timer.Timer) error {
		out := bufio.NewWriter(os.Stdout)
		fmt.Fprintln(out, due.ID, due.Attempt)
		if err := out.Flush(); err != nil {
			return err
		}
		select {}
	})
}

func open(t *testing.T, nc *nats.Conn, opts *timer.Options) *timer.Timers {
	t.Helper()
	timers, err := timer.Open(t.Context(), nc, "test", opts)
	if err != nil {
		t.Fatal(err)
	}
	return timers
}

// begin returns timers on a new server.
func begin(t *testing.T, opts *timer.Options) *timer.Timers {
	t.Helper()
	return open(t, testutil.Connect(t, testutil.Server(t)), opts)
}

func set(t *testing.T, timers *timer.Timers, id string, after time.Duration, data string) timer.Timer {
	t.Helper()
	due := timer.Timer{ID: id, At: time.Now().Add(after), Data: []byte(data)}
	if err := timers.Set(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	return due
}

// run runs timers until the test ends, or stop is called.
func run(t *testing.T, timers *timer.Timers, fire func(context.Context, timer.Timer) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- timers.Run(ctx, fire) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// calls remembers calls of timers. Its answer is what they return.
type calls struct {
	answer func(timer.Timer) error

	mu      sync.Mutex
	all     []timer.Timer
	changed chan struct{}
}

func (c *calls) fire(_ context.Context, due timer.Timer) error {
	c.mu.Lock()
	c.all = append(c.all, due)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	c.mu.Unlock()
	if time.Now().Before(due.At) {
		panic(fmt.Sprintf("timer %q was called too early", due.ID))
	}
	if c.answer == nil {
		return nil
	}
	return c.answer(due)
}

// of returns the calls of a timer.
func (c *calls) of(id string) []timer.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.all), func(due timer.Timer) bool { return due.ID != id })
}

// await waits until something is true of the calls.
func (c *calls) await(t *testing.T, what string, is func(all []timer.Timer) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		c.mu.Lock()
		if is(c.all) {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			t.Fatalf("waited for %s", what)
		}
	}
}

// called waits until a timer was called so often.
func (c *calls) called(t *testing.T, id string, times int) {
	t.Helper()
	c.await(t, fmt.Sprintf("%d calls of %q", times, id), func([]timer.Timer) bool {
		n := 0
		for _, due := range c.all {
			if due.ID == id {
				n++
			}
		}
		return n >= times
	})
}

// left returns how many messages the stream has.
func left(t *testing.T, nc *nats.Conn) uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "test-timers")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// empty waits until the stream has no messages.
func empty(t *testing.T, nc *nats.Conn) {
	t.Helper()
	until(t, "an empty stream", func() bool { return left(t, nc) == 0 })
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !is(); {
		if time.Now().After(late) {
			t.Fatalf("waited for %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func dead(t *testing.T, timers *timer.Timers) []timer.DeadTimer {
	t.Helper()
	var all []timer.DeadTimer
	for d, err := range timers.Dead(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

var errFailed = errors.New("it failed")

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// pending returns how many timers of an id are due and not done.
func pending(t *testing.T, nc *nats.Conn, id string) int {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "test-timers")
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("timers.test.due."+id+".*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(info.State.Subjects)
}
