package timer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Timer is something to be done at a time.
type Timer struct {
	// ID is any non-empty UTF-8 text of up to about 140 bytes, of which those that
	// are not printable ASCII, and '%', '.', '*' and '>', count three times. The
	// longer the name of the timers, the shorter.
	ID string
	// At is when it is due, to the nanosecond, in the years 1970 to 2261. If that
	// is past it is due at once.
	At time.Time
	// Data is for whoever is called: any bytes, up to what a message of the server
	// may have less 4 KiB, so 1 MiB less 4 KiB by default. It is stored as it is.
	Data []byte
	// Attempt counts the calls, from 1. Set ignores it.
	Attempt int
}

// Options are what timers may be opened with. The zero value of each field is its
// default.
type Options struct {
	// Replicas is on how many nodes of a cluster the timers are stored when Open
	// creates their stream: 1 (the default), 3 or 5. An existing stream keeps its
	// own.
	Replicas int
	// Attempts is after how many calls a timer is dead whose last one failed, see
	// [Timers.Dead]. Calls that were broken off, or whose process died, count too;
	// if all end so, it is dead after about twice as many and ten. Default: 20, which is
	// after about ten minutes.
	Attempts int
	// InHand is how many calls Run makes at a time; default 16.
	InHand int
	// Logger gets what fails besides the calls of a method: calls of timers,
	// timers that are dead, and what Run tries again. Default: none.
	Logger *slog.Logger
}

// Timers are the timers of one name. They may be used from several goroutines, and
// need no closing.
type Timers struct {
	name   string
	prefix string // of subjects
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	opts   Options
	log    *slog.Logger

	ackWait  time.Duration // after which a call that says nothing counts as lost
	overdue  time.Duration // after which the server counts as having forgotten a timer
	leftover time.Duration // after which what is left of a Cancel is removed that did not end
}

const metaFormat, format = "headwater-timers", "1"

// Open opens the timers of this name on the JetStream behind nc, and creates their
// stream, "<name>-timers", where there is none. A name is 1 to 64 letters, digits,
// '-' and '_': that of the log whose events lead to the timers is a good one.
//
// A wrong name or option is an [eventstore.InvalidError]. A stream whose settings
// would lose timers is an [eventstore.UnsafeLogError]; so is that of a server before
// 2.12, which has no timers. An error matches [eventstore.ErrUnavailable] if the
// server does not answer until the context ends, or for half a minute.
func Open(ctx context.Context, nc *nats.Conn, name string, opts *Options) (*Timers, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if nc == nil {
		return nil, &eventstore.InvalidError{What: "connection", Reason: "is nil"}
	}
	if opts == nil {
		opts = &Options{}
	}
	t := &Timers{name: name, prefix: "timers." + name, nc: nc, opts: *opts, log: opts.Logger, ackWait: 30 * time.Second, overdue: time.Minute, leftover: 2 * time.Minute}
	if err := t.defaults(); err != nil {
		return nil, err
	}
	var err error
	if t.js, err = jetstream.New(nc); err != nil {
		return nil, fmt.Errorf("timers %s: %w", name, err)
	}
	if err := t.persist(ctx, t.open); err != nil {
		return nil, err
	}
	if problems := t.unsafe(t.stream.CachedInfo().Config); len(problems) > 0 {
		return nil, &eventstore.UnsafeLogError{Log: t.streamName(), Problems: problems}
	}
	return t, nil
}

func (t *Timers) defaults() error {
	for _, o := range []struct {
		what      string
		n         *int
		otherwise int
	}{{"replicas", &t.opts.Replicas, 1}, {"attempts", &t.opts.Attempts, 20}, {"calls in hand", &t.opts.InHand, 16}} {
		switch {
		case *o.n < 0:
			return &eventstore.InvalidError{What: o.what, Value: fmt.Sprint(*o.n), Reason: "must not be negative"}
		case *o.n == 0:
			*o.n = o.otherwise
		}
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.log = t.log.With("timers", t.name)
	return nil
}

func (t *Timers) streamName() string { return t.name + "-timers" }

func (t *Timers) open(ctx context.Context) (err error) {
	t.stream, err = t.js.Stream(ctx, t.streamName())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.stream, err = t.js.CreateStream(ctx, t.settings())
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process created it
		t.stream, err = t.js.Stream(ctx, t.streamName())
	}
	return err
}

// settings are those of a new stream. A timer that was called, or that is dead and
// set again, leaves it; nothing else does. Reads ask the leader, since there is no
// direct get.
func (t *Timers) settings() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              t.streamName(),
		Description:       "Headwater timers",
		Subjects:          []string{t.prefix + ".>"},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.WorkQueuePolicy,
		Replicas:          t.opts.Replicas,
		Duplicates:        2 * time.Minute,
		AllowMsgSchedules: true,
		Metadata:          map[string]string{metaFormat: format},
	}
}

// unsafe lists what in a stream's settings would lose timers, each as "setting: why".
func (t *Timers) unsafe(c jetstream.StreamConfig) []string {
	var problems []string
	check := func(bad bool, setting, why string) {
		if bad {
			problems = append(problems, setting+": "+why)
		}
	}
	check(c.Metadata[metaFormat] != format, "metadata", "it was not created by Headwater, or by a later version of it")
	check(len(c.Subjects) != 1 || c.Subjects[0] != t.prefix+".>", "subjects", "its subjects are not "+t.prefix+".>")
	check(!c.AllowMsgSchedules, "allow_msg_schedules", "the server has no message schedules; 2.12 is the first that has")
	check(c.Storage != jetstream.FileStorage, "storage", "it is kept in memory")
	check(c.Retention != jetstream.WorkQueuePolicy, "retention", "it is no work queue")
	check(c.MaxAge > 0, "max_age", "old timers are removed")
	check(c.MaxMsgs > 0, "max_msgs", "old timers are removed")
	check(c.MaxBytes > 0, "max_bytes", "old timers are removed")
	check(c.MaxMsgsPerSubject > 0, "max_msgs_per_subject", "old timers are removed")
	check(c.MaxMsgSize > 0, "max_msg_size", "it refuses messages that the server would take")
	check(c.Duplicates < 2*time.Minute, "duplicate_window", "it is under two minutes")
	check(c.Sealed, "sealed", "it is sealed")
	check(c.DenyPurge, "deny_purge", "timers cannot be cancelled")
	check(c.AllowMsgTTL, "allow_msg_ttl", "timers can expire")
	check(c.AllowMsgCounter, "allow_msg_counter", "messages can be counters")
	check(c.NoAck, "no_ack", "timers are not acknowledged")
	check(c.PersistMode == jetstream.AsyncPersistMode, "persist_mode", "timers are acknowledged before they are written")
	check(c.Mirror != nil || len(c.Sources) > 0, "sources", "it copies other streams")
	check(c.SubjectTransform != nil, "subject_transform", "its subjects are transformed")
	return problems
}

// checkName refuses what is not plainly one subject token and part of a stream's name.
func checkName(name string) error {
	if name == "" || len(name) > 64 {
		return &eventstore.InvalidError{What: "name of timers", Value: name, Reason: "must have 1 to 64 characters"}
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return &eventstore.InvalidError{What: "name of timers", Value: name, Reason: "may have only letters, digits, '-' and '_'"}
		}
	}
	return nil
}

// latest is the last time that has nanoseconds since 1970 in 64 bits.
var latest = time.Unix(0, math.MaxInt64)

func checkTime(at time.Time) error {
	if at.Before(time.Unix(0, 0)) || at.After(latest) {
		return &eventstore.InvalidError{What: "timer's time", Value: at.String(), Reason: "must be in the years 1970 to 2261"}
	}
	return nil
}
