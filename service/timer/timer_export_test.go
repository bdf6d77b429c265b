package timer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// New returns timers that are not open.
func New(nc *nats.Conn, name string) *Timers {
	return &Timers{nc: nc, name: name, prefix: "timers." + name}
}

// SetAckWait lets calls that say nothing count as lost earlier.
func SetAckWait(t *Timers, d time.Duration) { t.ackWait = d }

// SetOverdue lets timers count as forgotten earlier.
func SetOverdue(t *Timers, d time.Duration) { t.overdue = d }

// SetLeftover lets what is left of a Cancel be removed earlier.
func SetLeftover(t *Timers, d time.Duration) { t.leftover = d }

// Subject returns the subject of a timer that waits, without its revision.
func Subject(t *Timers, id string) (string, error) {
	return t.prefix + "." + partSet + "." + escape(id), t.checkID(id)
}

// Parse returns the id and the time that the subject of a timer that is due tells.
func Parse(t *Timers, subject string) (string, time.Time, bool) {
	id, _, at, ok := t.parse(partDue, subject)
	return id, at, ok
}

// Unescape undoes what Subject does to an id.
var Unescape = unescape

// Bury puts a timer with the dead ones, always under the same revision.
func Bury(ctx context.Context, t *Timers, timer Timer, reason string) error {
	return t.bury(ctx, delivered{timer, "1000000000-0123456789abcdef", 0}, errors.New(reason))
}
