package service

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
)

// The kinds of [ConnectError], for errors.Is.
var (
	// ErrUnreachable: no server answered until the context ended.
	ErrUnreachable = errors.New("no server can be reached")
	// ErrUntrusted: no TLS connection that either side trusts. Nothing was said
	// without one.
	ErrUntrusted = errors.New("no trusted TLS connection")
	// ErrUnauthorized: the server does not know the user, or not any more.
	ErrUnauthorized = errors.New("not authorized")
)

// ConnectError says why a process is not connected to a server. It matches one of
// [ErrUnreachable], [ErrUntrusted] and [ErrUnauthorized], and the causes: the
// context's error, an [x509.UnknownAuthorityError], an [x509.CertificateInvalidError],
// nats.ErrSecureConnWanted of a server without TLS, and others.
type ConnectError struct {
	Servers []string // their URLs, without secrets
	Kind    error
	Err     error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s: %v: %v%s", strings.Join(e.Servers, ", "), e.Kind, e.Err, e.advice())
}

// advice is what to do where the cause does not say it.
func (e *ConnectError) advice() string {
	switch {
	case errors.Is(e.Err, nats.ErrSecureConnWanted):
		return ": the server has no TLS, and the configuration wants it"
	case e.Kind == ErrUnauthorized:
		return ": check the user and its password, token, nkey or credentials file"
	case isAlert(e.Err):
		return ": the server refuses the certificate in NATS_CERT, or that there is none"
	}
	return ""
}

// Is reports whether target is the error's kind.
func (e *ConnectError) Is(target error) bool { return target == e.Kind }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// connectKind returns the kind of an error of the connection, nil if it is none.
func connectKind(err error) error {
	switch {
	case err == nil:
		return nil
	case isAny(err, nats.ErrTLS, nats.ErrSecureConnWanted, nats.ErrSecureConnRequired), isAlert(err):
		return ErrUntrusted
	case isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked,
		nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported):
		return ErrUnauthorized
	}
	return ErrUnreachable
}

// isAlert reports whether the other side broke off TLS, which it may do only when it
// is asked for data.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
