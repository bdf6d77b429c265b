package timer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service/timer"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// guarded starts a server on which each user may publish what it says, and subscribe
// to inboxes. It returns their connections.
func guarded(t *testing.T, users ...[]string) []*nats.Conn {
	t.Helper()
	opts := &server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	for i, publish := range users {
		opts.Users = append(opts.Users, &server.User{Username: string(rune('a' + i)), Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	var conns []*nats.Conn
	for _, user := range opts.Users {
		nc, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo(user.Username, user.Password))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		conns = append(conns, nc)
	}
	return conns
}

// The permissions that the package's documentation names.
var (
	toOpen   = []string{"$JS.API.STREAM.INFO.test-timers"}
	toCreate = append(slices.Clone(toOpen), "$JS.API.STREAM.CREATE.test-timers")
	toSet    = []string{"timers.test.set.>", "$JS.API.STREAM.PURGE.test-timers"}
	toRun    = []string{
		"timers.test.set.>", "timers.test.dead.>",
		"$JS.API.STREAM.INFO.test-timers", "$JS.API.STREAM.MSG.GET.test-timers",
		"$JS.API.CONSUMER.CREATE.test-timers.run.>", "$JS.API.CONSUMER.MSG.NEXT.test-timers.run",
		"$JS.ACK.test-timers.run.>",
	}
	toList = []string{"$JS.API.STREAM.MSG.GET.test-timers"}
)

// The permissions that are documented are enough, each for its purpose.
func TestPermitted(t *testing.T) {
	t.Parallel()
	conns := guarded(t, toCreate, slices.Concat(toOpen, toSet), slices.Concat(toOpen, toRun), slices.Concat(toOpen, toList), []string{">"})
	open(t, conns[0], nil)
	setter, runner, lister := open(t, conns[1], nil), open(t, conns[2], &timer.Options{Attempts: 2}), open(t, conns[3], nil)
	timer.SetOverdue(runner, time.Second)
	c := &calls{answer: func(due timer.Timer) error {
		if due.ID == "a" {
			return nil
		}
		return errFailed
	}}
	run(t, runner, c.fire)
	set(t, setter, "a", 100*time.Millisecond, "")
	set(t, setter, "b", 0, "")
	set(t, setter, "c", time.Hour, "")
	if err := setter.Cancel(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	c.called(t, "a", 1)
	until(t, "a dead timer", func() bool { return len(dead(t, lister)) == 1 })
	if err := setter.Cancel(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	empty(t, conns[4])
	if err := conns[2].LastError(); err != nil {
		t.Errorf("whoever runs was not permitted something: %v", err)
	}
}

// What the server does not permit is an error soon, which names the subject.
func TestDenied(t *testing.T) {
	t.Parallel()
	without := func(all []string, one string) []string {
		return slices.DeleteFunc(slices.Concat(toOpen, all), func(s string) bool { return s == one })
	}
	denied := []string{
		"$JS.API.STREAM.INFO.test-timers", "timers.test.set.>", "$JS.API.STREAM.PURGE.test-timers",
		"$JS.API.CONSUMER.CREATE.test-timers.run.>", "$JS.API.CONSUMER.MSG.NEXT.test-timers.run", "$JS.ACK.test-timers.run.>",
		"$JS.API.STREAM.MSG.GET.test-timers",
	}
	users := [][]string{{">"}}
	for _, one := range denied {
		users = append(users, without(slices.Concat(toSet, toRun), one))
	}
	conns := guarded(t, users...)
	admin := open(t, conns[0], nil)
	set(t, admin, "due", 0, "")
	for i, one := range denied {
		nc := conns[i+1]
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		timers, err := timer.Open(ctx, nc, "test", nil)
		if err == nil {
			err = timers.Set(ctx, timer.Timer{ID: "a", At: time.Now().Add(time.Hour)})
		}
		if err == nil {
			for _, err = range timers.Dead(ctx) {
			}
		}
		if err == nil {
			err = timers.Run(ctx, func(context.Context, timer.Timer) error { return nil })
		}
		cancel()
		subject := strings.ToLower(strings.TrimSuffix(one, ">"))
		if !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(strings.ToLower(err.Error()), subject) {
			t.Errorf("without %s: got %v", one, err)
		}
	}
}

// Others' trouble on the same connection is none of the timers'.
func TestOthersDenied(t *testing.T) {
	t.Parallel()
	nc := guarded(t, slices.Concat(toCreate, toSet, toRun))[0]
	timers := open(t, nc, nil)
	c := &calls{}
	run(t, timers, c.fire)
	set(t, timers, "a", 0, "")
	c.called(t, "a", 1)
	for _, subject := range []string{"elsewhere", "timers.other.set.a", "$JS.API.STREAM.DELETE.test-timers"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the server to complain", func() bool { return nc.LastError() != nil })
	set(t, timers, "b", 0, "")
	c.called(t, "b", 1)
}
