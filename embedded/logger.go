package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// maxWarnings bounds what is kept of the server's warnings for an error text.
const maxWarnings = 5

// logger is the server's logger. It passes lines on to slog, and it catches
// what the server says in no other way: that it failed to start, and that it
// could not write for want of space.
type logger struct {
	out  *slog.Logger
	full chan struct{} // holds one if there was no space since it was looked at

	mu       sync.Mutex
	starting bool
	warnings []string // of the start only
	fatal    error    // the first one
}

func newLogger(out *slog.Logger) *logger {
	if out == nil {
		out = slog.New(slog.DiscardHandler)
	}
	return &logger{out: out, full: make(chan struct{}, 1), starting: true}
}

// failure returns the error the server called fatal, or nil.
func (l *logger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// started ends the collecting of warnings and returns them.
func (l *logger) started() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting = false
	return l.warnings
}

func (l *logger) Noticef(format string, v ...any) { l.log(slog.LevelInfo, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l *logger) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }

func (l *logger) Warnf(format string, v ...any) {
	l.warn(format, v)
	l.log(slog.LevelWarn, format, v)
}

func (l *logger) Errorf(format string, v ...any) {
	for _, arg := range v {
		if err, ok := arg.(error); ok && noSpace(err.Error()) {
			select {
			case l.full <- struct{}{}:
			default:
			}
		}
	}
	l.warn(format, v)
	l.log(slog.LevelError, format, v)
}

// Fatalf returns, unlike its namesake in package log: the server counts on
// that and gives up starting by itself.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	if l.fatal == nil {
		l.fatal = newServerError(format, v)
	}
	l.mu.Unlock()
	l.log(slog.LevelError, format, v)
}

func (l *logger) log(level slog.Level, format string, v []any) {
	if l.out.Enabled(context.Background(), level) {
		l.out.Log(context.Background(), level, text(format, v))
	}
}

func (l *logger) warn(format string, v []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.starting && len(l.warnings) < maxWarnings {
		l.warnings = append(l.warnings, text(format, v))
	}
}

// text formats a line; the server indents some of its own.
func text(format string, v []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, v...))
}

// serverError is a fatal line of the server's log. It unwraps to the error
// that was an argument of the line, so that callers need not read the text.
type serverError struct {
	text  string
	cause error
}

func newServerError(format string, v []any) error {
	e := &serverError{text: text(format, v)}
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			e.cause = errors.Join(e.cause, err)
		}
	}
	return e
}

func (e *serverError) Error() string { return e.text }
func (e *serverError) Unwrap() error { return e.cause }
