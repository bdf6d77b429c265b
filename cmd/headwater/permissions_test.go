package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestPermissionsPrinted(t *testing.T) {
	t.Parallel()
	for file, args := range map[string]string{
		"permissions-command.txt":    "command -log shop -service orders -kind order -kind payment -inbox _INBOX_orders",
		"permissions-projection.txt": "projection -log shop -shared",
		"permissions-process.txt":    "process -log shop -service payments -command payment.take -bucket checkpoints -timers shop -create -inbox _INBOX_process",
		"permissions-client.txt":     "client -service orders -service payments -inbox _INBOX_web",
		"permissions-live.txt":       "live -log shop",
		"permissions-operator.txt":   "operator -log shop -import",
		"permissions-all.txt":        "command,projection,client -log shop -service orders -scan -update",
		"permissions.jsonl":          "command -log shop -service orders -json",
		"permissions-live.jsonl":     "live -log shop -kind order -kind payment -json",
	} {
		golden(t, file, succeed(t, append([]string{"permissions"}, strings.Fields(args)...)...))
	}
}

// The server reads both forms, and the same from both.
func TestPermissionsAsConfiguration(t *testing.T) {
	t.Parallel()
	for _, d := range duties {
		text := succeed(t, append([]string{"permissions"}, strings.Fields(d.args)...)...)
		want := permissionsOf(t, d.args)
		for _, config := range []string{text, want.config(t)} {
			got := readBack(t, config)
			if !slices.Equal(got.all(), want.all()) || !slices.Equal(got.Publish.Deny, want.Publish.Deny) {
				t.Errorf("%s: the server reads %+v, want %+v, from\n%s", d.args, got, want, config)
			}
		}
	}
}

// readBack returns the permissions of a user as a server reads them.
func readBack(t *testing.T, config string) (p printed) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte("authorization { users: [ { user: me, password: secret\n"+config+"\n} ] }"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	has := opts.Users[0].Permissions
	p.Answers = has.Response != nil
	if has.Publish != nil {
		p.Publish = subjects{has.Publish.Allow, has.Publish.Deny}
	}
	if has.Subscribe != nil {
		p.Subscribe = subjects{has.Subscribe.Allow, has.Subscribe.Deny}
	}
	return p
}

// What is printed as JSON is what is printed for people.
func TestPermissionsJSON(t *testing.T) {
	t.Parallel()
	out := succeed(t, "permissions", "client", "-service", "orders", "-json")
	if !json.Valid([]byte(out)) || strings.Contains(out, `\u`) || strings.Count(out, "\n") != 1 {
		t.Errorf("%q", out)
	}
}

func TestPermissionsCommandLine(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                         "permissions needs an argument: ROLE",
		"admin -log shop":                          `there is no role "admin"; there are: command, projection, process, client, live and operator`,
		"command,":                                 `there is no role ""`,
		"command":                                  "role command needs -log",
		"client":                                   "role client needs -service",
		"process -log shop":                        "role process needs -service",
		"live -log shop -scan":                     "-scan means nothing to a user who is live",
		"projection,live -log shop -import":        "-import means nothing to a user who is projection and live",
		"live -log shop -inbox _INBOX_me":          "-inbox means nothing to a user who is live",
		"live -log shop.*":                         `-log "shop.*" is not a name`,
		"live -log live":                           `"live" is no name of a log or service`,
		"client -service _INBOX":                   `"_INBOX" is no name of a log or service`,
		"client -service orders -service timers":   `"timers" is no name of a log or service`,
		"live -log >":                              `-log ">" is not a name`,
		"live -log shop -kind *":                   `-kind "*" is not a name`,
		`command -log a"b`:                         `-log "a\"b" is not a name`,
		"client -service a b":                      "permissions has an argument too many",
		"client -service orders -command place":    `-command "place" is not KIND.COMMAND, as order.place is`,
		"client -service orders -query a.b":        `-query "a.b" is not a name`,
		"client -service orders -inbox INBOX":      `-inbox "INBOX" is not a prefix that begins with '_'`,
		"client -service orders -inbox _I.>":       `-inbox "_I.>" is not a prefix`,
		"client -service orders -inbox _INBOX.a":   `-inbox "_INBOX.a" is not a prefix`,
		"command -log shop -service a -service b":  "a user who is command answers for one service; -service names 2",
		"process -log shop -service a -bucket a.b": `-bucket "a.b" is not a name`,
		"process -log shop -service a -timers #":   `-timers "#" is not a name`,
	} {
		r := run(t, append([]string{"permissions"}, strings.Fields(args)...)...)
		if r.status != 2 || r.out != "" {
			t.Errorf("%q: exit status %d, printed %q", args, r.status, r.out)
		}
		requireContains(t, r.errors, want, "Try 'headwater permissions -h'.")
	}
	r := run(t, "logs", "-server", "nats://127.0.0.1:1", "-inbox", "a.*")
	requireContains(t, r.errors, `-inbox "a.*" is not a prefix`)
}
