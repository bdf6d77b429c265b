package eventstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store reads and writes one log. It may be used from several goroutines, and
// needs no closing: all it holds are reply subscriptions on the connection it
// was opened with, which end with that connection.
type Store struct {
	log      string
	identity string // made when the log was created
	replicas int
	wait     time.Duration
	js       jetstream.JetStream
	writes   *exchange
	reads    *exchange
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
	// stands before an append in the connection's queue. Default: the one
	// connection for both.
	Reads *nats.Conn
}

// patience bounds a call whose context has no earlier deadline, so that none
// waits for ever for a server that is gone. A leader election takes up to
// about ten seconds.
const patience = 30 * time.Second

const (
	metaFormat = "headwater"
	metaID     = "headwater-id"
)

// Open opens the log of this name on the JetStream behind nc, and creates it
// where there is none. A log is one JetStream stream: file storage, no limits,
// and neither deletes nor purges, since an event log only grows.
//
// A name is 1 to 64 letters, digits, '-' and '_'; another is an
// [InvalidError]. An existing stream with settings that can lose or change
// history is an [UnsafeLogError].
func Open(ctx context.Context, nc *nats.Conn, log string, opts *Options) (*Store, error) {
	if err := checkToken("log name", log); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &Options{}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", log, err)
	}
	info, err := openStream(ctx, js, log, opts)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", log, err)
	}
	if problems := unsafe(log, info.Config); len(problems) > 0 {
		return nil, &UnsafeLogError{Log: log, Problems: problems}
	}
	s := &Store{
		log: log, identity: info.Config.Metadata[metaID], replicas: info.Config.Replicas,
		wait: opts.AckWait, js: js, writes: &exchange{nc: nc},
	}
	s.reads = s.writes
	if opts.Reads != nil {
		s.reads = &exchange{nc: opts.Reads}
	}
	if s.wait <= 0 {
		s.wait = 5 * time.Second
	}
	return s, nil
}

// Name returns the log's name.
func (s *Store) Name() string { return s.log }

// Position returns the position of the log's last commit, 0 while it is empty.
// It asks the log's leader. An error matches [ErrUnavailable].
func (s *Store) Position(ctx context.Context) (uint64, error) {
	retry := retrier{start: time.Now()}
	for {
		stream, err := s.js.Stream(ctx, s.log)
		if err == nil {
			return stream.CachedInfo().State.LastSeq, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			err = retry.pause(ctx, err)
		}
		if err != nil {
			return 0, s.unavailable(err)
		}
	}
}

func openStream(ctx context.Context, js jetstream.JetStream, log string, opts *Options) (*jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, log)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, settings(log, opts))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Another process created it just now, with its own identity.
			stream, err = js.Stream(ctx, log)
		}
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
	if opts.Compress {
		cfg.Compression = jetstream.S2Compression
	}
	return cfg
}

// unsafe lists what in a stream's settings can lose or change history, or
// makes it no log of ours.
func unsafe(log string, c jetstream.StreamConfig) []string {
	var problems []string
	check := func(bad bool, problem string) {
		if bad {
			problems = append(problems, problem)
		}
	}
	check(c.Metadata[metaFormat] != wireFormat || c.Metadata[metaID] == "", "it was not created by Headwater, or by a later version of it")
	check(len(c.Subjects) != 1 || c.Subjects[0] != log+".*.*", "its subjects are not "+log+".*.*")
	check(c.Storage != jetstream.FileStorage, "it is kept in memory")
	check(c.Retention != jetstream.LimitsPolicy, "its retention removes what consumers have seen")
	check(c.MaxAge > 0, "max age removes old events")
	check(c.MaxMsgs > 0, "max messages removes old events")
	check(c.MaxBytes > 0, "max bytes removes old events")
	check(c.MaxMsgsPerSubject > 0, "max messages per subject removes old events")
	check(!c.DenyDelete, "messages can be deleted")
	check(!c.DenyPurge, "messages can be purged")
	check(!c.AllowDirect, "direct get is off")
	check(c.AllowRollup, "rollup headers can replace history")
	check(c.AllowMsgTTL, "messages can expire")
	check(c.AllowMsgSchedules, "scheduled messages can be written")
	check(c.AllowMsgCounter, "messages can be counters")
	check(c.NoAck, "appends are not acknowledged")
	check(c.PersistMode == jetstream.AsyncPersistMode, "appends are acknowledged before they are written")
	check(c.Mirror != nil || len(c.Sources) > 0, "it copies other streams")
	check(c.SubjectTransform != nil, "its subjects are transformed")
	return problems
}

func (s *Store) unavailable(err error) error {
	return fmt.Errorf("log %s: %w: %w", s.log, ErrUnavailable, err)
}

func (s *Store) corrupt(stream StreamID, position uint64, format string, args ...any) error {
	return &CorruptionError{Log: s.log, Stream: stream, Position: position, Reason: fmt.Sprintf(format, args...)}
}

// tail returns the last commit of a stream, nil if it has none. On a
// replicated log it asks the leader: another replica may be behind.
func (s *Store) tail(ctx context.Context, stream StreamID, subj string) (*commit, error) {
	if s.replicas > 1 {
		return s.leaderGet(ctx, stream, subj, map[string]any{"last_by_subj": subj})
	}
	m, err := s.ask(ctx, "$JS.API.DIRECT.GET."+s.log+"."+subj, nil)
	if err != nil {
		return nil, err
	}
	if status(m) == statusNotFound {
		return nil, nil
	}
	return s.decodeDirect(stream, subj, m)
}

// fetch returns the commits of a stream at the given positions, which are all
// different.
func (s *Store) fetch(ctx context.Context, stream StreamID, subj string, positions ...uint64) ([]*commit, error) {
	commits := make([]*commit, len(positions))
	err := s.walk(ctx, stream, subj, positions, func(c *commit) ([]uint64, error) {
		i := slices.Index(positions, c.position)
		if i < 0 {
			return nil, s.corrupt(stream, c.position, "the server answered with a message that was not asked for")
		}
		commits[i] = c
		return nil, nil
	})
	return commits, err
}

// walk gets the commits at the given positions, in any order, and those at the
// positions that visit returns, until there are no more. No position is to be
// asked for twice.
func (s *Store) walk(ctx context.Context, stream StreamID, subj string, positions []uint64, visit func(*commit) ([]uint64, error)) error {
	for waiting := positions; len(waiting) > 0; {
		asked := make(map[uint64]bool, len(waiting))
		next := func() (position uint64, ok bool) {
			if len(waiting) == 0 {
				return 0, false
			}
			position, waiting = waiting[0], waiting[1:]
			asked[position] = true
			return position, true
		}
		seen := func(c *commit) error {
			delete(asked, c.position)
			more, err := visit(c)
			waiting = append(waiting, more...)
			return err
		}
		err := s.reads.pipeline(ctx, s.log, s.wait, next, func(m *nats.Msg) error {
			if status(m) != "" {
				return nil
			}
			c, err := s.decodeDirect(stream, subj, m)
			if err != nil {
				return err
			}
			return seen(c)
		})
		if err != nil && !errors.Is(err, errNoAnswer) {
			return err
		}
		// A replica that is behind, or a connection that broke, left some out.
		for position := range asked {
			c, err := s.leaderGet(ctx, stream, subj, map[string]any{"seq": position})
			if err == nil && c == nil {
				err = s.corrupt(stream, position, "the commit is missing")
			}
			if err != nil {
				return err
			}
			if err := seen(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeDirect reads the answer to a Direct Get. The server adds its headers
// after the stored ones, so the last of each is the true one.
func (s *Store) decodeDirect(stream StreamID, subj string, m *nats.Msg) (*commit, error) {
	last := func(key string) string {
		v := m.Header[key]
		if len(v) == 0 {
			return ""
		}
		return v[len(v)-1]
	}
	seq, err1 := parseNumber(last(jetstream.SequenceHeader))
	at, err2 := time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	if err := cmp.Or(err1, err2); err != nil {
		return nil, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	return s.decodeStored(stream, subj, last(jetstream.SubjectHeader), m.Header, m.Data, seq, at)
}

func (s *Store) decodeStored(stream StreamID, want, got string, h nats.Header, data []byte, position uint64, at time.Time) (*commit, error) {
	if got != want {
		return nil, s.corrupt(stream, position, "the commit there belongs to subject %s", clip(got))
	}
	c, err := decode(stream, h, data, position, at)
	if err != nil {
		return nil, s.corrupt(stream, position, "%v", err)
	}
	c.logID = s.identity
	return c, nil
}

// leaderGet asks the log's leader for one message, nil if there is none.
func (s *Store) leaderGet(ctx context.Context, stream StreamID, subj string, req map[string]any) (*commit, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	m, err := s.ask(ctx, "$JS.API.STREAM.MSG.GET."+s.log, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *apiError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	if answer.Error != nil {
		if answer.Error.ErrCode == codeNoMessage {
			return nil, nil
		}
		return nil, s.unavailable(answer.Error)
	}
	msg := answer.Message
	var h nats.Header
	if len(msg.Header) > 0 {
		if h, err = nats.DecodeHeadersMsg(msg.Header); err != nil {
			return nil, s.corrupt(stream, msg.Sequence, "its headers are malformed")
		}
	}
	return s.decodeStored(stream, subj, msg.Subject, h, msg.Data, msg.Sequence, msg.Time)
}

// ask sends a read request until the server answers it, within the context
// and patience.
func (s *Store) ask(ctx context.Context, subj string, body []byte) (*nats.Msg, error) {
	const longest = 2 * time.Second // a read is cheap to repeat
	retry := retrier{start: time.Now()}
	for {
		m, err := s.reads.request(ctx, &nats.Msg{Subject: subj, Data: body}, min(s.wait, longest))
		switch {
		case err == nil && !transient(m):
			return m, nil
		case err == nil:
			err = errors.New("the log has no leader")
		case !errors.Is(err, errNoAnswer):
			return nil, s.unavailable(err)
		}
		if wait := retry.pause(ctx, err); wait != nil {
			return nil, s.unavailable(wait)
		}
	}
}

// transient reports an answer that says to ask again.
func transient(m *nats.Msg) bool {
	if status(m) == statusNoResponders {
		return true
	}
	if len(m.Header) > 0 || len(m.Data) == 0 {
		return false
	}
	var answer struct {
		Error *apiError `json:"error"`
	}
	// Only a short answer can be an error.
	return len(m.Data) < 512 && json.Unmarshal(m.Data, &answer) == nil &&
		answer.Error != nil && answer.Error.ErrCode == codeNotAvailable
}

// A retrier waits longer and longer, with jitter, between the attempts of one
// call.
type retrier struct {
	start    time.Time
	attempts int
}

// pause waits for the time of the next attempt. It returns an error when there
// is no time for another: why the last attempt failed, with the end of the
// context where that is what ended it.
func (r *retrier) pause(ctx context.Context, last error) error {
	const first, longest = 2 * time.Millisecond, time.Second
	if time.Since(r.start) > patience {
		return fmt.Errorf("gave up after %d attempts: %w", r.attempts+1, last)
	}
	wait := min(first<<min(r.attempts, 16), longest)
	r.attempts++
	select {
	case <-time.After(rand.N(wait) + wait/2):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w (%w)", context.Cause(ctx), last)
	}
}
