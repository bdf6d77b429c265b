package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// printed are permissions as the command prints them.
type printed struct {
	Publish   subjects `json:"publish"`
	Subscribe subjects `json:"subscribe"`
	Answers   bool     `json:"allow_responses"`
}

type subjects struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// answering stands for the permission to answer, among subjects.
const answering = "allow_responses"

// permissionsOf asks the command.
func permissionsOf(t *testing.T, args string) (p printed) {
	t.Helper()
	out := succeed(t, append(strings.Fields("permissions -json "), strings.Fields(args)...)...)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// all lists the permissions.
func (p printed) all() []string {
	list := slices.Concat(p.Publish.Allow, p.Subscribe.Allow)
	if p.Answers {
		list = append(list, answering)
	}
	return list
}

// without returns the permissions but for one.
func (p printed) without(subject string) printed {
	for _, s := range []*subjects{&p.Publish, &p.Subscribe} {
		s.Allow = slices.DeleteFunc(slices.Clone(s.Allow), func(other string) bool { return other == subject })
		if len(s.Allow) == 0 {
			s.Deny = []string{">"}
		}
	}
	p.Answers = p.Answers && subject != answering
	return p
}

// config is a part of a server's configuration, as JSON without \u is.
func (p printed) config(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		t.Fatal(err)
	}
	return "permissions: " + text.String()
}

// startWithUsers starts a server with an account for each of these permissions, in
// which there are an administrator and a user who has them. Nobody of one account
// notices those of another.
func startWithUsers(t *testing.T, permissions []string) *server.Server {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("accounts {\n")
	for i, p := range permissions {
		fmt.Fprintf(&conf, "A%d { jetstream: enabled\nusers: [\n{ user: admin%[1]d, password: secret }\n{ user: user%[1]d, password: secret\n%s }\n] }\n", i, p)
	}
	conf.WriteString("}\n")
	return startConfigured(t, conf.String())
}

// startConfigured starts a server with accounts.
func startConfigured(t *testing.T, accounts string) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	conf := fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\n%s", t.TempDir(), accounts)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, conf)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}

// user is one of an account.
type user struct {
	*testing.T
	nc, admin *nats.Conn
	url       string // with the user in it
	inbox     string
	patience  time.Duration // for a task
	live      bool          // the administrator's log has a live feed
	log       *eventstore.Store
}

// connected connects the user and the administrator of an account.
func connected(t *testing.T, s *server.Server, account int, inbox string) *user {
	t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	u := &user{T: t, inbox: inbox, patience: time.Minute, live: true}
	u.url = fmt.Sprintf("nats://user%d:secret@%s", account, s.Addr())
	for _, c := range []struct {
		nc   **nats.Conn
		name string
		opts []nats.Option
	}{
		{&u.admin, "admin", nil},
		{&u.nc, "user", []nats.Option{nats.CustomInboxPrefix(inbox)}},
	} {
		var err error
		who := nats.UserInfo(fmt.Sprint(c.name, account), "secret")
		if *c.nc, err = nats.Connect(s.ClientURL(), append(c.opts, who, quiet)...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*c.nc).Close)
	}
	return u
}

// owned returns the log as the administrator has it, who makes it if need be.
func (u *user) owned() *eventstore.Store {
	u.Helper()
	if u.log == nil {
		var err error
		if u.log, err = eventstore.Open(u.Context(), u.admin, "shop", &eventstore.Options{Live: u.live}); err != nil {
			u.Fatal(err)
		}
	}
	return u.log
}

// do does a task.
func (u *user) do(task func(context.Context, *user) error) error {
	ctx, cancel := context.WithTimeout(u.Context(), u.patience)
	defer cancel()
	return task(ctx, u)
}

// until waits for a condition.
func until(ctx context.Context, holds func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var violation = regexp.MustCompile(`(?i)(publish|subscription) to "([^"]*)"`)

// missing reports whether an error says that this permission is missing.
func missing(err error, permission string) bool {
	if !errors.Is(err, eventstore.ErrDenied) && !strings.Contains(err.Error(), "the server does not permit it to this connection's user") {
		return false
	}
	pattern, _, _ := strings.Cut(strings.ToLower(permission), " ")
	for _, found := range violation.FindAllStringSubmatch(err.Error(), -1) {
		if server.SubjectsCollide(pattern, strings.ToLower(found[2])) {
			return true
		}
	}
	return false
}
