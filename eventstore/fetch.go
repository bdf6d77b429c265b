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
			if errors.Is(err, errUnreadable) {
				return nil
			}
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
				return blame(stream, err)
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
	if m != nil || err != nil && !errors.Is(err, ErrCorrupt) {
		return m, err
	}
	answers, wrong := s.everywhere(ctx, req)
	if m := newest(answers); m != nil || wrong != nil {
		return m, wrong
	}
	return nil, err
}

// errUnreadable says that a message's headers cannot be decoded, and so neither
// what the server added to them. The checksum that the server keeps of a message
// leaves out how long its headers are. The leader's answer has them apart.
var errUnreadable = errors.New("its headers are malformed")

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
	last := func(key string) string { return lastValue(m.Header, key) }
	if last(jetstream.SequenceHeader) == "" {
		return nil, errUnreadable
	}
	position, err1 := parseNumber(last(jetstream.SequenceHeader))
	at, err2 := time.Parse(time.RFC3339Nano, last(jetstream.TimeStampHeaer))
	if err := cmp.Or(err1, err2); err != nil {
		return nil, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	return &stored{last(jetstream.SubjectHeader), position, m.Header, m.Data, at}, nil
}

// lastValue returns the last value of a header, "" if there is none.
func lastValue(h nats.Header, key string) string {
	v := h[key]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
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
			return nil, s.corrupt(StreamID{}, found.Sequence, "%v", errUnreadable)
		}
	}
	return &stored{found.Subject, found.Sequence, h, found.Data, found.Time}, nil
}

// ask sends a read request until the server answers it, within the context
// and patience.
func (s *Store) ask(ctx context.Context, subj string, body []byte) (*nats.Msg, error) {
	return s.askOn(ctx, s.reads, subj, body)
}

// askOn is ask on one of the connections, for what is safe to repeat.
func (s *Store) askOn(ctx context.Context, x *exchange, subj string, body []byte) (*nats.Msg, error) {
	const longest = 2 * time.Second // a read is cheap to repeat
	retry := retrier{start: time.Now()}
	for {
		m, err := x.request(ctx, &nats.Msg{Subject: subj, Data: body}, min(s.wait, longest))
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
