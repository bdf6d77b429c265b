package service_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// pair returns a new key and its public half.
func pair(t *testing.T, create func() (nkeys.KeyPair, error)) (key nkeys.KeyPair, public string) {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return key, public
}

// seedFile writes a key's seed to a file.
func seedFile(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNkey(t *testing.T) {
	t.Parallel()
	key, public := pair(t, nkeys.CreateUser)
	other, _ := pair(t, nkeys.CreateUser)
	s := natsServer(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
	c := service.Config{Servers: []string{address(s)}, NkeyFile: seedFile(t, key), Log: "shop"}
	pay(t, startService(t, c, nil).Log(), "front", 1)
	c.NkeyFile = seedFile(t, other)
	if _, err := service.Start(t.Context(), c, newWatcher().options()); !errors.Is(err, service.ErrUnauthorized) {
		t.Errorf("with another key: %v", err)
	}
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	operator, operatorKey := pair(t, nkeys.CreateOperator)
	account, accountKey := pair(t, nkeys.CreateAccount)
	_, systemKey := pair(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(accountKey)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	s := natsServer(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{jwt.NewOperatorClaims(operatorKey)},
		SystemAccount:    systemKey,
		AccountResolver: resolver(t, map[string]string{
			accountKey: signed(t, claims, operator), systemKey: signed(t, jwt.NewAccountClaims(systemKey), operator),
		}),
	})
	c := service.Config{Servers: []string{address(s)}, CredentialsFile: credentials(t, account), Log: "shop"}
	pay(t, startService(t, c, nil).Log(), "front", 1)
	stranger, _ := pair(t, nkeys.CreateAccount)
	c.CredentialsFile = credentials(t, stranger)
	if _, err := service.Start(t.Context(), c, newWatcher().options()); !errors.Is(err, service.ErrUnauthorized) {
		t.Errorf("with those of another account: %v", err)
	}
}

func signed(t *testing.T, claims jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	token, err := claims.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func resolver(t *testing.T, accounts map[string]string) server.AccountResolver {
	t.Helper()
	var r server.MemAccResolver
	for key, token := range accounts {
		if err := r.Store(key, token); err != nil {
			t.Fatal(err)
		}
	}
	return &r
}

// credentials writes those of a new user of an account to a file.
func credentials(t *testing.T, account nkeys.KeyPair) string {
	t.Helper()
	user, userKey := pair(t, nkeys.CreateUser)
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(signed(t, jwt.NewUserClaims(userKey), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), fmt.Sprint(userKey, ".creds"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
