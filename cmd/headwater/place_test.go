package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	headwater "github.com/headwater-go/headwater/cmd/headwater"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go/jetstream"
)

func TestChoice(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	on := []string{"-server", server.URL()}
	look := func(args ...string) []string { return append(args, on...) }
	make := func(log string) {
		if _, err := eventstore.Open(t.Context(), testutil.Connect(t, server), log, nil); err != nil {
			t.Fatal(err)
		}
	}
	requireFailure(t, "there is no log", look("streams")...)
	requireFailure(t, "there is no log yet; name the new one with -log", look("import")...)
	requireFailure(t, `there is no log "shop"; there is none at all`, look("streams", "-log", "shop")...)
	other(t, server)
	requireFailure(t, "there is no log", look("verify")...)
	make("shop")
	succeed(t, look("streams")...)
	succeed(t, look("streams", "-log", "shop")...)
	succeed(t, look("import")...)
	make("cart")
	requireFailure(t, "which log? Name one with -log; there are: cart, shop", look("streams")...)
	requireFailure(t, "which log? Name one with -log; there are: cart, shop", look("import")...)
	requireFailure(t, `there is no log "ship"; there are: cart, shop`, look("verify", "-log", "ship")...)
	requireContains(t, run(t, look("cat", "a/b", "-log", "other")...).errors, "metadata: it was not created by Headwater")
	requireContains(t, run(t, look("cat", "a/b", "-log", "a.b")...).errors, "invalid stream name")
	requireContains(t, run(t, look("import", "-log", "a b")...).errors, `log name "a b": may have only`)
	if got := succeed(t, look("logs")...); strings.Count(got, "\n") != 3 {
		t.Errorf("the logs are\n%s", got)
	}
}

// other makes a JetStream stream that is no log.
func other(t *testing.T, on testutil.Connector) {
	t.Helper()
	js, err := jetstream.New(testutil.Connect(t, on))
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other", Subjects: []string{"other.*.*"}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The environment names a server where the flags do not.
func TestEnvironment(t *testing.T) {
	server := startServer(t)
	onServer(t, server, "shop")
	t.Setenv("NATS_URL", server.URL())
	requireContains(t, succeed(t, "logs"), " shop\n")
	dir := inFolder(t, func(*eventstore.Store) {})
	succeed(t, "verify", "-data", dir)
	requireContains(t, run(t, "logs", "-server", "nats://127.0.0.1:1").errors, "connect to nats://127.0.0.1:1: ")
}

// A mistyped folder must not become one.
func TestLookMakesNoFolder(t *testing.T) {
	t.Parallel()
	missing, empty := filepath.Join(t.TempDir(), "dta"), t.TempDir()
	for _, args := range [][]string{{"logs"}, {"streams"}, {"cat", "a/b"}, {"tail"}, {"export"}, {"verify"}} {
		requireFailure(t, "there is no folder "+missing, append(args, "-data", missing)...)
		requireFailure(t, "the folder "+empty+" holds no logs", append(args, "-data", empty)...)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("%s: %v", missing, err)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("%s: %v %v", empty, entries, err)
	}
}

func TestSecretsInTheWrongPlace(t *testing.T) {
	t.Parallel()
	const url = "nats://wizard:pass wurd@host"
	for _, args := range [][]string{{url}, {"streams", url}, {"cat", url, "-data", t.TempDir()}, {"import", url}, {"verify", "-data", url}, {"server", "-data", "x", "-listen", url}} {
		if r := run(t, args...); r.status == 0 || strings.Contains(r.errors, "wiz") || strings.Contains(r.errors, "wurd") {
			t.Errorf("%s: exit status %d, complained %q", args, r.status, r.errors)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, want string }{
		{"nats://127.0.0.1:1", "nats://127.0.0.1:1"},
		{"nats://me:secret@127.0.0.1:1", "nats://127.0.0.1:1"},
		{"secret@127.0.0.1:1", "127.0.0.1:1"},
		{"me:secret://@127.0.0.1:1", "127.0.0.1:1"},
		{"nats://me:se%ret@127.0.0.1:1", "nats://127.0.0.1:1"},
		{"nats://me:sec@ret@127.0.0.1:1,nats://secret@127.0.0.1:2", "nats://127.0.0.1:1,nats://127.0.0.1:2"},
		{"nats://me:sec,ret@127.0.0.1:1", "…,127.0.0.1:1"},
		{"nats://127.0.0.1:1,me:secret@127.0.0.1:2", "…,127.0.0.1:2"},
	} {
		if got := headwater.WithoutSecrets(test.url); got != test.want {
			t.Errorf("%q is shown as %q, want %q", test.url, got, test.want)
		}
		r := run(t, "streams", "-server", test.url)
		if r.status != 1 || strings.Contains(r.errors, "sec") || strings.Contains(r.errors, "ret") {
			t.Errorf("%s: exit status %d, complained %q", test.url, r.status, r.errors)
		}
		requireContains(t, r.errors, "headwater: connect to "+test.want+": ")
	}
}
