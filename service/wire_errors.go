package service

import (
	"errors"
)

// The kinds of failure that no package below has, for errors.Is.
var (
	// ErrNotFound: there is nothing of that name. A query, or a command's Decide,
	// that returns an error which matches it is answered with the code "not-found".
	ErrNotFound = errors.New("not found")
	// ErrInternal: the service failed, and its log says why. The answer does not. A
	// command may have been applied; with the same id it is safe to send again.
	ErrInternal = errors.New("internal error")
)

// Error is a failure of a request that has no type of its own in the packages below.
// It matches its Kind, and Err.
type Error struct {
	Subject string // of the request
	Kind    error  // [eventstore.ErrUnavailable], [eventstore.ErrTooLarge] or [ErrInternal]
	Message string
	Err     error // why the client gave up, if it did
}

func (e *Error) Error() string {
	text := e.Message
	if e.Subject != "" {
		text = e.Subject + ": " + text
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Is reports whether target is the error's kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Unwrap returns why the client gave up.
func (e *Error) Unwrap() error { return e.Err }

// Rejection is how the refusal of a rule arrives: as the Err of an
// [aggregate.RejectedError] if it refused a command, and as itself if a query. It
// matches the error that [ClientOptions.Errors] has for its code, and [ErrNotFound] if
// that is "not-found".
type Rejection struct {
	Code    string // "" where the service has none for it
	Message string
	known   error
}

func (e *Rejection) Error() string { return e.Message }

// Is reports whether target is [ErrNotFound] and so is the code.
func (e *Rejection) Is(target error) bool { return target == ErrNotFound && e.Code == codeNotFound }

// Unwrap returns the client's error of this code, if there is one.
func (e *Rejection) Unwrap() error { return e.known }

const (
	codeNotFound = "not-found"
	maxMessage   = 512 // bytes of a text for people
)
