package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// serverEnv is the variable that makes the test binary a NATS server, with the file of
// its settings.
const serverEnv = "HEADWATER_TEST_NATS"

// TestServerProcess is a NATS server that reads its settings again at SIGHUP. It is
// not in the process of the test, since the server has a data race then.
func TestServerProcess(t *testing.T) {
	file := os.Getenv(serverEnv)
	if file == "" {
		t.Skip("it is for child processes")
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoLog = true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start() // with handlers for signals
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	fmt.Println("ready")
	fmt.Println(s.Addr())
	s.WaitForShutdown()
}

// A guard is a NATS server in a process of its own, whose users can be changed.
type guard struct {
	*process
	file, dir, address string
}

func newGuard(t *testing.T, users ...string) *guard {
	t.Helper()
	g := &guard{file: filepath.Join(t.TempDir(), "nats.conf"), dir: t.TempDir()}
	g.write(t, users)
	g.process = startProcess(t, "TestServerProcess", variables{serverEnv: g.file})
	g.await(t, "ready")
	g.address = <-g.said
	return g
}

func (g *guard) write(t *testing.T, users []string) {
	t.Helper()
	text := fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\nauthorization { users: [\n%s\n] }\n", g.dir, strings.Join(users, "\n"))
	if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *guard) reload(t *testing.T, users ...string) {
	t.Helper()
	g.write(t, users)
	g.signal(t, syscall.SIGHUP)
}

// What a service may not do any more it is told, and what it may again it does.
func TestRevoked(t *testing.T) {
	t.Parallel()
	const (
		admin = `{ user: admin, password: secret-a }`
		ann   = `{ user: ann, password: secret-u, permissions: { publish: ["shop.>", "$JS.API.>"] } }`
		poor  = `{ user: ann, password: secret-u, permissions: { publish: ["$JS.API.>"] } }`
	)
	g := newGuard(t, admin, ann)
	w := newWatcher()
	svc := startService(t, service.Config{
		Servers: []string{g.address}, User: "ann", Password: service.NewSecret("secret-u"), Log: "shop",
	}, w.options())
	pay(t, svc.Log(), "front", 1)

	g.reload(t, admin, poor)
	eventually(t, func() error {
		err := tryPay(t.Context(), svc.Log(), "front", 1)
		if !errors.As(err, new(*eventstore.DeniedError)) || !strings.Contains(err.Error(), "shop.till.front") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	if got := w.await(t, service.Refused); !errors.Is(got.Err, nats.ErrPermissionViolation) {
		t.Errorf("told %v", got.Err)
	}
	g.reload(t, admin) // the user is gone
	for {
		if got := w.await(t, service.Disconnected); errors.Is(got.Err, service.ErrUnauthorized) {
			break
		}
	}
	awaitPart(t, svc, "connection", false, service.ErrUnauthorized.Error())
	g.reload(t, admin, ann)
	w.await(t, service.Reconnected)
	pay(t, svc.Log(), "front", 1)
	if strings.Contains(w.String(), "secret") {
		t.Errorf("it shows a secret: %s", &w.lines)
	}
}

// A server that says nothing any more is noticed by who asks, long before the
// connection is given up.
func TestServerPaused(t *testing.T) {
	t.Parallel()
	g := newGuard(t, `{ user: ann, password: secret-u }`)
	svc := startService(t, service.Config{Servers: []string{"ann:secret-u@" + g.address}, Log: "shop"}, nil)
	awaitPart(t, svc, "log shop", true, "open")
	g.signal(t, syscall.SIGSTOP)
	awaitPart(t, svc, "connection", false, "does not answer")
	awaitPart(t, svc, "log shop", false, "connection is not ready")
	g.signal(t, syscall.SIGCONT)
	awaitPart(t, svc, "log shop", true, "open")
}
