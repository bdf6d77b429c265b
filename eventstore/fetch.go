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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tail returns the last commit of a stream, nil if it has none. On a
// replicated log it asks the leader: another replica may be behind.
//
// A server that cannot read the last message of a subject says that there is
// none, or takes an earlier one for the last. What it counts tells, so it is
// asked for that as well, at the same time, unless all of the log is known to
// be readable.
func (s *Store) tail(ctx context.Context, stream StreamID, subj string) (*commit, error) {
	if s.sound() {
		return s.last(ctx, stream, subj)
	}
	counted := make(chan error, 1)
	var have count
	go func() {
		var err error
		have, err = s.count(ctx, subj)
		counted <- err
	}()
	tail, err := s.last(ctx, stream, subj)
	if err := cmp.Or(err, <-counted); err != nil {
		return nil, err
	}
	if have.complete() && tail.mark().ordinal < have.commits {
		// One may have come in between.
		if tail, err = s.last(ctx, stream, subj); err != nil {
			return nil, err
		}
	}
	if !have.complete() || tail.mark().ordinal < have.commits {
		return s.hidden(ctx, stream, subj, tail, have)
	}
	return tail, nil
}

// last returns what the server takes for the last commit of a stream.
func (s *Store) last(ctx context.Context, stream StreamID, subj string) (*commit, error) {
	var m *stored
	var err error
	if s.replicas > 1 {
		m, err = s.askLeader(ctx, map[string]any{"last_by_subj": subj})
	} else {
		m, err = s.askDirect(ctx, "."+subj, nil)
	}
	if err != nil || m == nil {
		return nil, err
	}
	return s.decodeStored(stream, subj, m)
}

// hidden returns the last commit of a stream from the replicas, where the
// leader lost messages.
func (s *Store) hidden(ctx context.Context, stream StreamID, subj string, tail *commit, have count) (*commit, error) {
	m, err := s.elsewhere(ctx, map[string]any{"last_by_subj": subj})
	if err != nil {
		return nil, err
	}
	if m != nil && m.position > tail.mark().position {
		if tail, err = s.decodeStored(stream, subj, m); err != nil {
			return nil, err
		}
	}
	switch ordinal := tail.mark().ordinal; {
	case ordinal < have.commits:
		return nil, s.corrupt(stream, tail.mark().position, "the server has %d commits of the stream, and the last one that it can read is number %d", have.commits, ordinal)
	case s.replicas == 1 && !s.damaged:
		return nil, s.corrupt(stream, tail.mark().position, "the server lost messages, %s: the stream's last one may be among them", have)
	}
	return tail, nil
}

// count is what the server counts.
type count struct {
	commits           uint64 // of one stream
	messages          uint64 // in the log
	first, last, gone uint64 // positions
}

// complete reports whether there are messages at all positions.
func (c count) complete() bool {
	return c.gone == 0 && c.first <= 1 && c.messages == c.last
}

func (c count) String() string {
	return fmt.Sprintf("of which it has %d at the positions %d to %d", c.messages, c.first, c.last)
}

// count asks the log's leader.
func (s *Store) count(ctx context.Context, subj string) (count, error) {
	body, err := json.Marshal(map[string]any{"subjects_filter": subj})
	if err != nil {
		return count{}, err
	}
	m, err := s.ask(ctx, "$JS.API.STREAM.INFO."+s.log, body)
	if err != nil {
		return count{}, err
	}
	var answer struct {
		Error *jetstream.APIError   `json:"error"`
		State jetstream.StreamState `json:"state"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return count{}, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	if answer.Error != nil {
		return count{}, s.unavailable(answer.Error)
	}
	return counted(answer.State, subj), nil
}

func counted(state jetstream.StreamState, subj string) count {
	return count{state.Subjects[subj], state.Msgs, state.FirstSeq, state.LastSeq, uint64(state.NumDeleted)}
}

// elsewhere asks the other replicas for a message that the leader does not
// find, nil if none of them has it. Which one answers is chance, and one may
// be behind: it asks so often that all did, almost certainly, and takes the
// newest answer.
func (s *Store) elsewhere(ctx context.Context, req map[string]any) (newest *stored, err error) {
	const each = 8
	if s.replicas == 1 {
		return nil, nil
	}
	for range each * s.replicas {
		m, err := s.askDirect(ctx, "", req)
		if err != nil {
			return nil, err
		}
		if m != nil && (newest == nil || m.position > newest.position) {
			newest = m
		}
	}
	return newest, nil
}

// tailAtLeast returns a stream's last commit, which must not be before a
// position that the server acknowledged once. On replicas it asks again for a
// while: a leader that was cut off answers from the past.
func (s *Store) tailAtLeast(ctx context.Context, stream StreamID, subj string, position uint64) (*commit, error) {
	retry := retrier{start: time.Now()}
	for {
		tail, err := s.tail(ctx, stream, subj)
		at := tail.mark().position
		if err != nil || at >= position {
			return tail, err
		}
		lost := s.corrupt(stream, position, "the stream ends at position %d, before what the server acknowledged: the log lost commits or is another one", at)
		if s.replicas == 1 || time.Since(retry.start) > staleness {
			return nil, lost
		}
		if err := retry.pause(ctx, errBehind); err != nil {
			return nil, s.unavailable(err)
		}
	}
}

// errBehind is not yet proof of damage.
var errBehind = errors.New("the leader does not have what was acknowledged")

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
			found, err := s.direct(m)
			if err != nil {
				return err
			}
			c, err := s.decodeStored(stream, subj, found)
			if err != nil {
				return err
			}
			return seen(c)
		})
		if err != nil && !errors.Is(err, errNoAnswer) {
			return err
		}
		// A replica that is behind or damaged, or a connection that broke, left
		// some out.
		for position := range asked {
			m, err := s.at(ctx, position)
			if err == nil && m == nil {
				err = s.corrupt(stream, position, "the commit is missing")
			}
			if err != nil {
				return err
			}
			c, err := s.decodeStored(stream, subj, m)
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

// at returns the message at a position, whichever replica has it, nil if none
// does.
func (s *Store) at(ctx context.Context, position uint64) (*stored, error) {
	req := map[string]any{"seq": position}
	m, err := s.askLeader(ctx, req)
	if err == nil && m == nil {
		m, err = s.elsewhere(ctx, req)
	}
	return m, err
}

// stored is a message as the log has it.
type stored struct {
	subject  string
	position uint64
	header   nats.Header
	data     []byte
	recorded time.Time
}

func (s *Store) decodeStored(stream StreamID, subj string, m *stored) (*commit, error) {
	if m.subject != subj {
		return nil, s.corrupt(stream, m.position, "the commit there belongs to subject %s", clip(m.subject))
	}
	c, err := decode(stream, m.header, m.data, m.position, m.recorded)
	if err != nil {
		return nil, s.corrupt(stream, m.position, "%v", err)
	}
	c.logID, c.logName = s.identity, s.log
	return c, nil
}

// direct reads the answer to a Direct Get. The server adds its headers after
// the stored ones, so the last of each is the true one.
func (s *Store) direct(m *nats.Msg) (*stored, error) {
	last := func(key string) string {
		v := m.Header[key]
		if len(v) == 0 {
			return ""
		}
		return v[len(v)-1]
	}
	position, err1 := parseNumber(last(jetstream.SequenceHeader))
	at, err2 := time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	if err := cmp.Or(err1, err2); err != nil {
		return nil, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	return &stored{last(jetstream.SubjectHeader), position, m.Header, m.Data, at}, nil
}

// askDirect asks any replica for one message, nil if it has none.
func (s *Store) askDirect(ctx context.Context, suffix string, req map[string]any) (*stored, error) {
	var body []byte
	if req != nil {
		var err error
		if body, err = json.Marshal(req); err != nil {
			return nil, err
		}
	}
	m, err := s.ask(ctx, "$JS.API.DIRECT.GET."+s.log+suffix, body)
	if err != nil || status(m) == statusNotFound {
		return nil, err
	}
	return s.direct(m)
}

// askLeader asks the log's leader for one message, nil if it has none.
func (s *Store) askLeader(ctx context.Context, req map[string]any) (*stored, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	m, err := s.ask(ctx, "$JS.API.STREAM.MSG.GET."+s.log, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
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
		if answer.Error.ErrorCode == codeNoMessage {
			return nil, nil
		}
		return nil, s.unavailable(answer.Error)
	}
	found := answer.Message
	var h nats.Header
	if len(found.Header) > 0 {
		if h, err = nats.DecodeHeadersMsg(found.Header); err != nil {
			return nil, s.corrupt(StreamID{}, found.Sequence, "its headers are malformed")
		}
	}
	return &stored{found.Subject, found.Sequence, h, found.Data, found.Time}, nil
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
			if err = errNoLeader; retry.attempts == fewAttempts && s.gone(ctx) {
				return nil, s.unavailable(jetstream.ErrStreamNotFound)
			}
		case !errors.Is(err, errNoAnswer):
			return nil, s.unavailable(err)
		}
		if wait := retry.pause(ctx, err); wait != nil {
			return nil, s.unavailable(wait)
		}
	}
}

var errNoLeader = errors.New("the log has no leader")

// fewAttempts is after how many the absence of a leader may mean more than an
// election.
const fewAttempts = 6

// gone reports that the log was deleted.
func (s *Store) gone(ctx context.Context) bool {
	_, err := s.js.Stream(ctx, s.log)
	return errors.Is(err, jetstream.ErrStreamNotFound)
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
		Error *jetstream.APIError `json:"error"`
	}
	// Only a short answer can be an error.
	return len(m.Data) < 512 && json.Unmarshal(m.Data, &answer) == nil &&
		answer.Error != nil && answer.Error.ErrorCode == codeNotAvailable
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
		return fmt.Errorf("%w (%w)", ended(ctx), last)
	}
}
