package timer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Ids that mean something in subjects, headers or escapes are timers of their own.
func TestAwkwardIDs(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	ids := []string{
		"*", ">", ".", "..", "a.b", "a.*", "a.>", "a b", " ", "\t", "a\r\nb: c", "\x00", "%", "%2E", "%2e", "%%", "ä", "日本", "\u2028", "\U0001F600",
		"set.a", "a.1-0000000000000000", "$JS.API.>", "A", "a", strings.Repeat("x", 180), strings.Repeat(".", 60),
	}
	for i, id := range ids {
		set(t, timers, id, 0, fmt.Sprint(i))
	}
	set(t, timers, "other", time.Hour, "")
	c := &calls{}
	run(t, timers, c.fire)
	for i, id := range ids {
		c.called(t, id, 1)
		if got := c.of(id); string(got[0].Data) != fmt.Sprint(i) {
			t.Errorf("%q was called with %q", id, got[0].Data)
		}
	}
	for _, id := range ids {
		if err := timers.Cancel(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	until(t, "one timer to be left", func() bool { return left(t, nc) == 1 })
	if len(c.all) != len(ids) {
		t.Errorf("%d calls of %d timers", len(c.all), len(ids))
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	now := time.Now()
	for name, due := range map[string]timer.Timer{
		"no id":       {At: now},
		"a long id":   {ID: strings.Repeat("x", 220), At: now},
		"long .":      {ID: strings.Repeat(".", 80), At: now},
		"no UTF-8":    {ID: "\xff", At: now},
		"no time":     {ID: "a"},
		"before 1970": {ID: "a", At: time.Unix(-1, 0)},
		"too late":    {ID: "a", At: time.Date(2262, 5, 1, 0, 0, 0, 0, time.UTC)},
		"much data":   {ID: "a", At: now, Data: make([]byte, nc.MaxPayload()-1000)},
	} {
		err := timers.Set(t.Context(), due)
		if !errors.Is(err, eventstore.ErrInvalid) || len(err.Error()) > 500 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := timers.Cancel(t.Context(), ""); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("cancel: got %v", err)
	}
	if n := left(t, nc); n > 0 {
		t.Errorf("%d messages were stored", n)
	}
	for name, opts := range map[string]*timer.Options{"": nil, "a.b": nil, "*": nil, strings.Repeat("x", 65): nil, "replicas": {Replicas: -1}, "attempts": {Attempts: -1}, "hand": {InHand: -1}} {
		if _, err := timer.Open(t.Context(), nc, name, opts); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("open %q: got %v", name, err)
		}
	}
	if _, err := timer.Open(t.Context(), nil, "test", nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("open without a connection: got %v", err)
	}
	if _, err := timer.Open(t.Context(), nc, "three", &timer.Options{Replicas: 3}); err == nil || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("open with replicas on one server: got %v", err)
	}
}

// The largest timer there is comes through, also to the dead.
func TestLargest(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, &timer.Options{Attempts: 1})
	c := &calls{answer: func(timer.Timer) error { return errors.New(strings.Repeat("\n", 10_000)) }}
	run(t, timers, c.fire)
	due := timer.Timer{ID: strings.Repeat(".", 60), At: time.Now(), Data: make([]byte, nc.MaxPayload()-4<<10)}
	if err := timers.Set(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	until(t, "a dead timer", func() bool { return len(dead(t, timers)) == 1 })
	if got := dead(t, timers)[0]; len(got.Data) != len(due.Data) || got.ID != due.ID {
		t.Errorf("dead: %d bytes of %q", len(got.Data), got.ID)
	}
	if err := timers.Set(t.Context(), dead(t, timers)[0].Timer); err != nil {
		t.Error(err)
	}
}

// Settings that would lose timers are refused.
func TestUnsafe(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	open(t, nc, nil)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	made, err := js.Stream(t.Context(), "test-timers")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"described":       func(c *jetstream.StreamConfig) { c.Description = "changed" },
		"max-age":         func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max-messages":    func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max-bytes":       func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max-per-subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"max-size":        func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"memory":          func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"interest":        func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"limits":          func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy },
		"no-schedules":    func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = false },
		"ttl":             func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"no-ack":          func(c *jetstream.StreamConfig) { c.NoAck = true },
		"foreign":         func(c *jetstream.StreamConfig) { c.Metadata = nil },
		"duplicates":      func(c *jetstream.StreamConfig) { c.Duplicates = time.Second },
		"subjects":        func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.>"} },
	} {
		c := made.CachedInfo().Config
		c.Name, c.Subjects = name+"-timers", []string{"timers." + name + ".>"}
		change(&c)
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err := timer.Open(t.Context(), nc, name, nil)
		var unsafe *eventstore.UnsafeLogError
		switch {
		case name == "described":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.As(err, &unsafe) || unsafe.Log != name+"-timers" || len(unsafe.Problems) != 1:
			t.Errorf("%s: got %v, want an UnsafeLogError", name, err)
		}
	}
}

// Many processes that open the timers at once create one stream.
func TestOpenedAtOnce(t *testing.T) {
	t.Parallel()
	server := testutil.Server(t)
	errs := make(chan error, 8)
	for range cap(errs) {
		nc := testutil.Connect(t, server)
		go func() {
			timers, err := timer.Open(t.Context(), nc, "test", nil)
			if err == nil {
				err = timers.Set(t.Context(), timer.Timer{ID: "same", At: time.Now().Add(time.Hour)})
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := left(t, testutil.Connect(t, server)); n != 1 {
		t.Errorf("%d timers are left", n)
	}
}

// Without a server nothing hangs, and the errors say so.
func TestNoServer(t *testing.T) {
	t.Parallel()
	server := start(t, t.TempDir(), embedded.Options{Listen: "127.0.0.1:0"})
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	timers := open(t, nc, nil)
	closed := open(t, testutil.Connect(t, server), nil)
	stopServer(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	due := timer.Timer{ID: "a", At: time.Now()}
	for what, err := range map[string]error{
		"set":        timers.Set(ctx, due),
		"cancel":     timers.Cancel(ctx, "a"),
		"open":       second(timer.Open(ctx, nc, "test", nil)),
		"closed set": closed.Set(t.Context(), due),
		"closed run": closed.Run(t.Context(), (&calls{}).fire),
	} {
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: got %v", what, err)
		}
		if !strings.HasPrefix(what, "closed") && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v does not match the context's error", what, err)
		}
	}
	for _, err := range timers.Dead(ctx) {
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("dead: got %v", err)
		}
	}
	if err := timers.Run(ctx, (&calls{}).fire); err != nil {
		t.Errorf("run: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Run ends if somebody deletes the stream.
func TestStreamDeleted(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	c := &calls{}
	ended := make(chan error, 1)
	go func() { ended <- timers.Run(t.Context(), c.fire) }()
	set(t, timers, "a", 0, "")
	c.called(t, "a", 1)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "test-timers"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("got %v", err)
	}
}

// A consumer that is deleted is made again.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	nc := testutil.Connect(t, testutil.Server(t))
	timers := open(t, nc, nil)
	c := &calls{}
	run(t, timers, c.fire)
	set(t, timers, "a", 0, "")
	c.called(t, "a", 1)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), "test-timers", "run"); err != nil {
		t.Fatal(err)
	}
	set(t, timers, "b", 0, "")
	c.called(t, "b", 1)
	empty(t, nc)
}

// Every id has one subject, which tells the id, and which is one token.
func FuzzID(f *testing.F) {
	nc := &nats.Conn{}
	timers := timer.New(nc, "test")
	for _, id := range []string{"a", "a.b", "*", ">", "%", "%2E", "%zz", "ä", "\x00", "\xff", ""} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		subject, err := timer.Subject(timers, id)
		if err != nil {
			return
		}
		token, ok := strings.CutPrefix(subject, "timers.test.set.")
		if !ok || token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") {
			t.Fatalf("%q has the subject %q", id, subject)
		}
		const revision = "1700000000000000001-0123456789abcdef"
		got, at, ok := timer.Parse(timers, "timers.test.due."+token+"."+revision)
		if !ok || got != id || at.UnixNano() != 1700000000000000001 {
			t.Errorf("%q came back as %q, %v, %v", id, got, at, ok)
		}
		// What somebody else wrote is no other way to write an id.
		if other, _, ok := timer.Parse(timers, "timers.test.due."+id+"."+revision); ok {
			if again, err := timer.Subject(timers, other); err != nil || again != "timers.test.set."+id {
				t.Errorf("%q is taken for %q, whose subject is %q", id, other, again)
			}
		}
	})
}
