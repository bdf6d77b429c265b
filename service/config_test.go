package service_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

type variables = map[string]string

func TestFromEnv(t *testing.T) {
	for key, value := range (variables{
		"NATS_SERVERS": "nats://a:4222, b", "NATS_USER": "ann", "NATS_PASSWORD": "hunter2", "NATS_INBOX_PREFIX": "_INBOX_orders",
		"HEADWATER_SERVICE": "orders", "HEADWATER_INSTANCE": "orders-0.eu", "HEADWATER_LOG": "shop",
		"HEADWATER_REPLICAS": "3", "HEADWATER_ACK_WAIT": "2s", "HEADWATER_MAX_ACK_PENDING": "64",
		"HEADWATER_HEALTH": ":8080", "HEADWATER_SHUTDOWN_TIMEOUT": "1m", "HEADWATER_DATA": "",
	}) {
		t.Setenv(key, value)
	}
	c, err := service.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Servers, []string{"nats://a:4222", "nats://b"}) || c.User != "ann" || c.InboxPrefix != "_INBOX_orders" {
		t.Errorf("got %v", c)
	}
	if c.Service != "orders" || c.Instance != "orders-0.eu" || c.Log != "shop" || c.Replicas != 3 || c.DataDir != "" {
		t.Errorf("got %v", c)
	}
	if c.AckWait != 2*time.Second || c.MaxAckPending != 64 || c.HealthAddress != ":8080" || c.ShutdownTimeout != time.Minute {
		t.Errorf("got %v", c)
	}
}

// Each row is an environment and the variables that it gets wrong.
func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed, nothing, missing := write("seed", userSeed(t)), write("nothing", "hunter2"), filepath.Join(dir, "missing")
	cert, key := ca.issue(t, "client", time.Hour)
	_, otherKey := ca.issue(t, "other", time.Hour)
	const s = "nats://localhost"
	for name, c := range map[string]struct {
		env   variables
		wrong []string
	}{
		"embedded":                {variables{"HEADWATER_DATA": dir}, nil},
		"servers":                 {variables{"NATS_URL": "tls://a:1,b:2,ws://c"}, nil},
		"user in the URL":         {variables{"NATS_URL": "nats://ann:hunter2@a"}, nil},
		"token in the URL":        {variables{"NATS_URL": "nats://hunter2@a,nats://hunter2@b"}, nil},
		"nkey":                    {variables{"NATS_URL": s, "NATS_NKEY": seed}, nil},
		"TLS":                     {variables{"NATS_URL": s, "NATS_CA": ca.file, "NATS_CERT": cert, "NATS_KEY": key}, nil},
		"two lists":               {variables{"NATS_URL": s, "NATS_SERVERS": s}, []string{"NATS_URL"}},
		"no URL":                  {variables{"NATS_URL": "nats://a:hunter2 b"}, []string{"NATS_URL"}},
		"no host":                 {variables{"NATS_SERVERS": "nats://:4222"}, []string{"NATS_SERVERS"}},
		"no port":                 {variables{"NATS_SERVERS": "a:0"}, []string{"NATS_SERVERS"}},
		"no scheme of NATS":       {variables{"NATS_SERVERS": "https://a"}, []string{"NATS_SERVERS"}},
		"path":                    {variables{"NATS_SERVERS": "nats://a/hunter2"}, []string{"NATS_SERVERS"}},
		"two bad servers":         {variables{"NATS_SERVERS": "a:b,c,x://d"}, []string{"NATS_SERVERS", "NATS_SERVERS"}},
		"comma in a password":     {variables{"NATS_URL": "nats://ann:hun,ter2@a"}, []string{"NATS_URL"}},
		"digits before the comma": {variables{"NATS_URL": "nats://ann:12,ter2@a"}, []string{"NATS_URL"}},
		"users differ":            {variables{"NATS_URL": "nats://ann:hunter2@a,nats://b"}, []string{"NATS_URL"}},
		"user twice":              {variables{"NATS_URL": "nats://ann:hunter2@a", "NATS_TOKEN": "hunter2"}, []string{"NATS_URL"}},
		"two kinds":               {variables{"NATS_URL": s, "NATS_USER": "a", "NATS_PASSWORD": "hunter2", "NATS_TOKEN": "hunter2", "NATS_NKEY": seed}, []string{"NATS_TOKEN", "NATS_NKEY"}},
		"user without password":   {variables{"NATS_URL": s, "NATS_USER": "a"}, []string{"NATS_PASSWORD"}},
		"password without user":   {variables{"NATS_URL": s, "NATS_PASSWORD": "hunter2"}, []string{"NATS_USER"}},
		"no nkey":                 {variables{"NATS_URL": s, "NATS_NKEY": nothing}, []string{"NATS_NKEY"}},
		"no nkey file":            {variables{"NATS_URL": s, "NATS_NKEY": missing}, []string{"NATS_NKEY"}},
		"no credentials":          {variables{"NATS_URL": s, "NATS_CREDS": nothing}, []string{"NATS_CREDS"}},
		"no credentials file":     {variables{"NATS_URL": s, "NATS_CREDS": missing}, []string{"NATS_CREDS"}},
		"certificate without key": {variables{"NATS_URL": s, "NATS_CERT": cert}, []string{"NATS_KEY"}},
		"key without certificate": {variables{"NATS_URL": s, "NATS_KEY": key}, []string{"NATS_CERT"}},
		"another's key":           {variables{"NATS_URL": s, "NATS_CERT": cert, "NATS_KEY": otherKey}, []string{"NATS_CERT"}},
		"no key file":             {variables{"NATS_URL": s, "NATS_CERT": cert, "NATS_KEY": missing}, []string{"NATS_KEY"}},
		"no CA":                   {variables{"NATS_URL": s, "NATS_CA": nothing}, []string{"NATS_CA"}},
		"CA is a folder":          {variables{"NATS_URL": s, "NATS_CA": dir}, []string{"NATS_CA"}},
		"embedded with a user":    {variables{"NATS_USER": "a", "NATS_PASSWORD": "hunter2"}, []string{"NATS_USER", "NATS_PASSWORD"}},
		"embedded with TLS":       {variables{"NATS_CA": ca.file}, []string{"NATS_CA"}},
		"embedded with replicas":  {variables{"HEADWATER_REPLICAS": "3"}, []string{"HEADWATER_REPLICAS"}},
		"two replicas":            {variables{"NATS_URL": s, "HEADWATER_REPLICAS": "2"}, []string{"HEADWATER_REPLICAS"}},
		"numbers": {
			variables{"HEADWATER_REPLICAS": "hunter2", "HEADWATER_ACK_WAIT": "5", "HEADWATER_MAX_ACK_PENDING": "-1", "HEADWATER_SHUTDOWN_TIMEOUT": "-1s"},
			[]string{"HEADWATER_REPLICAS", "HEADWATER_ACK_WAIT", "HEADWATER_MAX_ACK_PENDING", "HEADWATER_SHUTDOWN_TIMEOUT"},
		},
		"names": {
			variables{"HEADWATER_SERVICE": "a b", "HEADWATER_INSTANCE": "a/b", "HEADWATER_LOG": "a.b", "NATS_INBOX_PREFIX": "_a.b", "HEADWATER_HEALTH": "8080"},
			[]string{"HEADWATER_SERVICE", "HEADWATER_INSTANCE", "HEADWATER_LOG", "NATS_INBOX_PREFIX", "HEADWATER_HEALTH"},
		},
		"an inbox that no service answers to": {variables{"NATS_INBOX_PREFIX": "inbox"}, []string{"NATS_INBOX_PREFIX"}},
		"names of other subjects":             {variables{"HEADWATER_SERVICE": "live", "HEADWATER_LOG": "timers"}, []string{"HEADWATER_SERVICE", "HEADWATER_LOG"}},
		"names as of inboxes":                 {variables{"HEADWATER_SERVICE": "_INBOX", "HEADWATER_LOG": "_a"}, []string{"HEADWATER_SERVICE", "HEADWATER_LOG"}},
		"no inbox":                            {variables{"NATS_INBOX_PREFIX": "_"}, []string{"NATS_INBOX_PREFIX"}},
		"folders": {
			variables{"HEADWATER_DATA": nothing, "HEADWATER_HIGH_WATER": nothing},
			[]string{"HEADWATER_DATA", "HEADWATER_HIGH_WATER"},
		},
		"everything at once": {
			variables{"NATS_URL": "a:b", "NATS_CA": missing, "HEADWATER_REPLICAS": "4", "HEADWATER_ACK_WAIT": "x", "HEADWATER_LOG": "*"},
			[]string{"NATS_URL", "NATS_CA", "HEADWATER_REPLICAS", "HEADWATER_ACK_WAIT", "HEADWATER_LOG"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := service.FromMap(c.env)
			var got []string
			var mistakes *service.ConfigError
			if errors.As(err, &mistakes) {
				for _, m := range mistakes.Mistakes {
					got = append(got, m.Variable)
				}
			}
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(c.wrong)); !slices.Equal(got, want) {
				t.Errorf("mistakes in %q, want %q: %v", got, want, err)
			}
			if err != nil && !errors.Is(err, eventstore.ErrInvalid) {
				t.Errorf("it does not match ErrInvalid: %v", err)
			}
			for _, secret := range []string{"hunter2", "hun", "ter2"} {
				if strings.Contains(fmt.Sprint(err, config), secret) {
					t.Errorf("it shows a secret: %v %v", err, config)
				}
			}
		})
	}
}

// userSeed returns the seed of an nkey of a user.
func userSeed(t *testing.T) string {
	t.Helper()
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, bytes.Repeat([]byte{7}, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

// However a config is printed, it shows no secret, also where fmt cannot call its
// methods.
func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	fromURL, err := service.FromMap(variables{"NATS_URL": "nats://ann:hunter2@a"})
	if err != nil {
		t.Fatal(err)
	}
	fromVariables, err := service.FromMap(variables{"NATS_URL": "nats://a", "NATS_TOKEN": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]service.Config{
		"URL": fromURL, "variables": fromVariables,
		"by hand": {Servers: []string{"nats://ann:hunter2@a"}, Password: service.NewSecret("hunter2")},
	} {
		var printed bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&printed, verb+verb+verb, c, &c, c.Password)
			fmt.Fprintf(&printed, verb, []any{c, map[string]any{"c": c}, struct{ C service.Config }{c}})
			if name != "by hand" {
				fmt.Fprintf(&printed, verb, struct{ c service.Config }{c})
			}
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("", "config", c, "at", &c, "password", c.Password, "token", c.Token)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("", "config", c, "at", &c, "password", c.Password, "token", c.Token)
		text, err := json.Marshal([]any{c, &c, c.Password})
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(text)
		for _, secret := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%d", []byte("hunter2"))} {
			if strings.Contains(printed.String(), secret) {
				t.Errorf("%s: it shows the secret: %s", name, &printed)
			}
		}
		if !strings.Contains(printed.String(), "[hidden]") {
			t.Errorf("%s: it does not say that there is a secret: %s", name, &printed)
		}
	}
}

// What Start finds wrong is what FromEnv would.
func TestStartChecksItsConfig(t *testing.T) {
	t.Parallel()
	_, err := service.Start(t.Context(), service.Config{Replicas: 2, Log: "*"}, nil)
	var wrong *service.ConfigError
	if !errors.As(err, &wrong) || len(wrong.Mistakes) != 3 { // it is also no number for a server that is alone
		t.Errorf("got %v", err)
	}
	_, err = service.Start(t.Context(), service.Config{Servers: []string{"a"}}, on(newHouse(t)))
	if !errors.As(err, &wrong) {
		t.Errorf("got %v", err)
	}
	opts := on(newHouse(t))
	connect := opts.Connect
	opts.Connect = func(...nats.Option) (*nats.Conn, error) { return connect() }
	if _, err := service.Start(t.Context(), service.Config{}, opts); err == nil || !strings.Contains(err.Error(), "Options.Connect") {
		t.Errorf("a connection without the service's options: %v", err)
	}
}

// Whatever is wrong about URLs, what stands in the place of a password is not shown.
func FuzzServers(f *testing.F) {
	f.Add("nats", "", "")
	f.Add("tls", "1,", "")
	f.Add("ws", "1/", "")
	f.Add("nats", "1?", "%")
	f.Add("nats", "a b", ",c")
	f.Add("nats", "1#", "@x")
	f.Fuzz(func(t *testing.T, scheme, before, after string) {
		if strings.ContainsAny(scheme+before+after, "@") {
			t.Skip() // then nobody can say what is the password
		}
		c, err := service.FromMap(variables{"NATS_URL": scheme + "://ann:" + before + "hunter2" + after + "@localhost"})
		if text := fmt.Sprint(c, err); strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	})
}
