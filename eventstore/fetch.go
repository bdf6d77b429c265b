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

// A leaderMessage is a message as the leader answers with it.
type leaderMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// leaderGet asks the log's leader for one commit, nil if there is none.
func (s *Store) leaderGet(ctx context.Context, stream StreamID, subj string, req map[string]any) (*commit, error) {
	msg, err := s.askLeader(ctx, req)
	if err != nil || msg == nil {
		return nil, err
	}
	var h nats.Header
	if len(msg.Header) > 0 {
		if h, err = nats.DecodeHeadersMsg(msg.Header); err != nil {
			return nil, s.corrupt(stream, msg.Sequence, "its headers are malformed")
		}
	}
	return s.decodeStored(stream, subj, msg.Subject, h, msg.Data, msg.Sequence, msg.Time)
}

// askLeader asks the log's leader for one message, nil if there is none.
func (s *Store) askLeader(ctx context.Context, req map[string]any) (*leaderMessage, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	m, err := s.ask(ctx, "$JS.API.STREAM.MSG.GET."+s.log, body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *apiError     `json:"error"`
		Message leaderMessage `json:"message"`
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
	return &answer.Message, nil
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
		return fmt.Errorf("%w (%w)", ended(ctx), last)
	}
}
