package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// quiet keeps the client from printing what the calls report.
var quiet = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

// dial connects to a server. A user, password or token in its URL stays out of
// the error. What the server does not permit goes to denied, if there is room.
func dial(address, inbox string, denied chan<- error) (*nats.Conn, error) {
	opts := []nats.Option{nats.Name("headwater"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			select {
			case denied <- err:
			default:
			}
		}
	})}
	if inbox != "" {
		opts = append(opts, nats.CustomInboxPrefix(inbox))
	}
	nc, err := nats.Connect(address, opts...)
	if err == nil {
		return nc, nil
	}
	// An error about a URL cites the part of it that is wrong, which may be the
	// password.
	if errors.As(err, new(*url.Error)) || strings.Contains(err.Error(), address) {
		err = errors.New("the URL is not valid")
	}
	return nil, fmt.Errorf("connect to %s: %w", withoutSecrets(address), err)
}

// withoutSecrets returns a list of URLs without what stands before an '@'. Where
// that could go wrong more is left out.
func withoutSecrets(address string) string {
	if !strings.Contains(address, "@") {
		return address
	}
	parts := strings.Split(address, ",")
	for i, part := range parts {
		at := strings.LastIndexByte(part, '@')
		if at < 0 {
			parts[i] = "…" // it may be a password with a comma in it
			continue
		}
		scheme, _, ok := strings.Cut(part[:at], "://")
		if parts[i] = part[at+1:]; ok && !strings.ContainsAny(scheme, ":@") {
			parts[i] = scheme + "://" + parts[i]
		}
	}
	return strings.Join(parts, ",")
}
