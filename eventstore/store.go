package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store reads and writes one log. It may be used from several goroutines, and
// needs no closing: all it holds are reply subscriptions on the connection it
// was opened with, which end with that connection, and so does what it does in
// the background.
type Store struct {
	log      string
	identity string // made when the log was created
	replicas int
	alone    bool // one server, no cluster
	wait     time.Duration
	js       jetstream.JetStream // to read through
	writes   *exchange
	reads    *exchange

	onDamage func(*CorruptionError)
	onAppend func(context.Context, Appended)
	damaged  bool          // and opened all the same
	leader   leader        // of a replicated log
	scrubbed atomic.Uint64 // what the scrub came to
	water    highWater     // what the server acknowledged
}

// Options are what a log may be opened with. The zero value of each field is
// its default.
type Options struct {
	// Replicas is on how many nodes of a cluster a log is stored when Open
	// creates it: 1 (the default), 3 or 5. An existing log keeps its own.
	Replicas int
	// DuplicateWindow is for how long the server itself recognises the
	// message of a commit that it has stored, when Open creates the log;
	// default 2 minutes. Appends are safe to repeat after it too.
	DuplicateWindow time.Duration
	// Compress stores the log compressed, when Open creates it.
	Compress bool
	// AckWait is how long to wait for one answer of the server before asking
	// again; default 5 seconds. The context of a call bounds the whole call.
	AckWait time.Duration
	// Reads is a second connection, to read through: a large read then never
	// stands before an append in the connection's queue. Its user needs the
	// permissions to read, and that of the other those to append and for Open.
	// Default: the one connection for both.
	Reads *nats.Conn
	// HighWater is the path of a small file in which appends note the last
	// commit that the server acknowledged. A server that lost the end of a log,
	// or runs on an older copy of it, does not know; with the file Open does,
	// and refuses the log. Each process has a file of its own for each log, on
	// a disk that is not the server's. Default: none.
	HighWater string
	// OnDamage is told what is found besides the calls: each position that the
	// server cannot read, by a walk over a log with one replica that begins with
	// Open and goes on in the background; and of a log with more, that the node
	// that leads it lost messages. [Store.Verify] finds more. It is called from
	// any goroutine. Default: nobody is told.
	OnDamage func(*CorruptionError)
	// OnAppend is told what became of each call of Append, also of one that was
	// refused at once, before it returns, by the goroutine that called it and with
	// its context. It should return soon. Default: nobody is told.
	OnAppend func(context.Context, Appended)
	// Live has the server publish each commit again when it is stored, for [Live].
	// Open changes an existing log that does not yet, for which the user of its
	// connection needs the permission to update the JetStream stream; one that
	// republishes for something else is an [UnsafeLogError]. Default: as the log
	// is, and a new one does not.
	Live bool
	// AllowUnsafe names settings, as an [UnsafeLogError] names them, that the
	// log may have although they can lose or change history. With any of them,
	// and with "damage", a log is opened that is known to have lost messages,
	// for example to verify it: reads of its streams may be short, and appends
	// go on from there. Settings without which it is no log are not accepted.
	AllowUnsafe []string
}

// patience bounds a call whose context has no earlier deadline, so that none
// waits for ever for a server that is gone. A leader election takes up to
// about ten seconds.
const patience = 30 * time.Second

// staleness bounds for how long a leader that was cut off may answer from the
// past: the server checks every 10 seconds for a quorum lost 10 seconds ago.
const staleness = 20 * time.Second

const (
	metaFormat = "headwater"
	metaID     = "headwater-id"
)

// Open opens the log of this name on the JetStream behind nc, and creates it
// where there is none. A log is one JetStream stream: file storage, no limits,
// and neither deletes nor purges, since an event log only grows.
//
// A name is 1 to 64 letters, digits, '-' and '_'; another is an
// [InvalidError]. So is one that begins with '_', as do the subjects on which clients
// get answers, and "live" and "timers", which begin the subjects of live feeds and of
// package service/timer: a permission for those must not be one for the log. An existing stream with settings that can lose or change
// history is an [UnsafeLogError]. A log that does not hold what the file
// Options.HighWater says, or of which the server says that it lost messages, is a
// [CorruptionError].
func Open(ctx context.Context, nc *nats.Conn, log string, opts *Options) (*Store, error) {
	if err := checkLogName(log); err != nil {
		return nil, err
	}
	if nc == nil {
		return nil, &InvalidError{What: "connection", Reason: "is nil"}
	}
	if opts == nil {
		opts = &Options{}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", log, err)
	}
	s := &Store{log: log, wait: opts.AckWait, onDamage: opts.OnDamage, onAppend: opts.OnAppend, js: js, writes: &exchange{nc: nc}}
	s.reads = s.writes
	if opts.Reads != nil {
		s.reads = &exchange{nc: opts.Reads}
		if s.js, err = jetstream.New(opts.Reads); err != nil {
			return nil, fmt.Errorf("open log %s: %w", log, err)
		}
	}
	if s.wait <= 0 {
		s.wait = 5 * time.Second
	}
	noted, err := s.water.open(opts.HighWater, log)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", log, err)
	}
	if err := s.open(ctx, js, opts, noted); err != nil {
		s.water.close()
		return nil, err
	}
	if s.alone {
		s.scrub()
	}
	return s, nil
}

// open opens the JetStream stream, which must hold what was noted of it.
func (s *Store) open(ctx context.Context, js jetstream.JetStream, opts *Options, noted *note) error {
	info, err := openStream(ctx, js, settings(s.log, opts), noted == nil)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.corrupt(StreamID{}, noted.position, "the server has no log of this name, and %s says that it had", opts.HighWater)
	}
	if err != nil {
		return fmt.Errorf("open log %s: %w", s.log, err)
	}
	if problems := unsafe(s.log, info.Config, opts.AllowUnsafe); len(problems) > 0 {
		return &UnsafeLogError{Log: s.log, Problems: problems}
	}
	if opts.Live {
		if err := s.republish(ctx, info.Config.RePublish); err != nil {
			return fmt.Errorf("open log %s: %w", s.log, err)
		}
	}
	s.identity, s.replicas = info.Config.Metadata[metaID], info.Config.Replicas
	s.damaged = len(opts.AllowUnsafe) > 0
	have := counted(info, "")
	s.alone = s.replicas == 1 && have.cluster == ""
	if err := s.lacks(have); err != nil {
		return err
	}
	s.leads(have)
	s.water.trust(s.reconnects())
	if noted != nil {
		return s.holds(ctx, noted, opts.HighWater)
	}
	return nil
}

// lacks reports what a log with one replica lost by what the server counts.
func (s *Store) lacks(have count) error {
	if s.replicas > 1 || s.damaged || have.complete() {
		return nil
	}
	return s.corrupt(StreamID{}, have.last, "the server lost messages, %s", have)
}

// Name returns the log's name.
func (s *Store) Name() string { return s.log }

// Identity returns what tells the log from every other one, also of the same
// name: a UUID made when the log was created. What is derived from a log, such as
// a snapshot, notes it.
func (s *Store) Identity() string { return s.identity }

// Position returns the position of the log's last commit, 0 while it is empty.
// It asks the log's leader. An error matches [ErrUnavailable].
func (s *Store) Position(ctx context.Context) (uint64, error) {
	retry := retrier{start: time.Now()}
	for {
		w := s.reads.watch()
		var stream jetstream.Stream
		err := attempt(ctx, func(ctx context.Context) (err error) {
			stream, err = s.js.Stream(ctx, s.log)
			return err
		})
		if err == nil {
			return stream.CachedInfo().State.LastSeq, nil
		}
		if denied := w.deniedAPI("STREAM.INFO." + s.log); denied != nil {
			return 0, s.unavailable(denied)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, nats.ErrConnectionClosed) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return 0, s.unavailable(err)
		}
	}
}

// openStream returns the stream, which it creates if it may.
func openStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, create bool) (*jetstream.StreamInfo, error) {
	const attempt = 5 * time.Second
	retry := retrier{start: time.Now()}
	for {
		w := watch{js.Conn(), js.Conn().LastError()}
		info, err := openOnce(ctx, js, cfg, create, attempt)
		var refused *jetstream.APIError
		denied := w.deniedAPI("STREAM.INFO."+cfg.Name, "STREAM.CREATE."+cfg.Name)
		switch {
		case err == nil:
			return info, nil
		case denied != nil:
			return nil, denied
		case errors.Is(err, nats.ErrConnectionClosed):
			return nil, err
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			if retry.attempts >= fewAttempts { // it may be starting
				return nil, err
			}
		case !create && errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, err
		case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			// Another process is creating it, with its own identity.
		case errors.As(err, &refused) && refused.ErrorCode != codeNotAvailable:
			return nil, err
		}
		if err := retry.pause(ctx, err); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

func openOnce(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig, create bool, wait time.Duration) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stream, err := js.Stream(ctx, cfg.Name)
	if create && errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

func settings(log string, opts *Options) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:               log,
		Description:        "Headwater event log",
		Subjects:           []string{log + ".*.*"},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Replicas:           max(opts.Replicas, 1),
		Duplicates:         opts.DuplicateWindow,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{metaFormat: wireFormat, metaID: uuid.NewString()},
	}
	if cfg.Duplicates == 0 {
		cfg.Duplicates = 2 * time.Minute
	}
	if opts.Live {
		cfg.RePublish = republished(log)
	}
	if opts.Compress {
		cfg.Compression = jetstream.S2Compression
	}
	return cfg
}

// unsafe lists what in a stream's settings can lose or change history, or
// makes it no log of ours: each as "setting: why".
func unsafe(log string, c jetstream.StreamConfig, allowed []string) []string {
	var problems []string
	need := func(bad bool, setting, why string) {
		if bad {
			problems = append(problems, setting+": "+why)
		}
	}
	check := func(bad bool, setting, why string) {
		need(bad && !slices.Contains(allowed, setting), setting, why)
	}
	need(c.Metadata[metaFormat] != wireFormat || c.Metadata[metaID] == "", "metadata", "it was not created by Headwater, or by a later version of it")
	need(len(c.Subjects) != 1 || c.Subjects[0] != log+".*.*", "subjects", "its subjects are not "+log+".*.*")
	check(c.Storage != jetstream.FileStorage, "storage", "it is kept in memory")
	check(c.Retention != jetstream.LimitsPolicy, "retention", "its retention removes what consumers have seen")
	check(c.MaxAge > 0, "max_age", "old events are removed")
	check(c.MaxMsgs > 0, "max_msgs", "old events are removed")
	check(c.MaxBytes > 0, "max_bytes", "old events are removed")
	check(c.MaxMsgsPerSubject > 0, "max_msgs_per_subject", "old events are removed")
	check(!c.DenyDelete, "deny_delete", "messages can be deleted")
	check(!c.DenyPurge, "deny_purge", "messages can be purged")
	need(!c.AllowDirect, "allow_direct", "direct get is off")
	check(c.AllowRollup, "allow_rollup_hdrs", "rollup headers can replace history")
	check(c.AllowMsgTTL, "allow_msg_ttl", "messages can expire")
	check(c.AllowMsgSchedules, "allow_msg_schedules", "scheduled messages can be written")
	check(c.AllowMsgCounter, "allow_msg_counter", "messages can be counters")
	need(c.FirstSeq > 1, "first_seq", "its first position is not 1")
	check(c.Sealed, "sealed", "it is sealed")
	check(c.MaxMsgSize > 0, "max_msg_size", "it refuses messages that the server would take")
	check(c.MaxConsumers > 0, "max_consumers", "it limits the number of readers")
	need(c.NoAck, "no_ack", "appends are not acknowledged")
	check(c.PersistMode == jetstream.AsyncPersistMode, "persist_mode", "appends are acknowledged before they are written")
	check(c.Mirror != nil || len(c.Sources) > 0, "sources", "it copies other streams")
	need(c.SubjectTransform != nil, "subject_transform", "its subjects are transformed")
	return problems
}

func (s *Store) unavailable(err error) error {
	return fmt.Errorf("log %s: %w: %w", s.log, ErrUnavailable, err)
}

func (s *Store) corrupt(stream StreamID, position uint64, format string, args ...any) error {
	return &CorruptionError{Log: s.log, Stream: stream, Position: position, Reason: fmt.Sprintf(format, args...)}
}
