package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
		if tail, err := s.last(ctx, stream, subj); err != nil || s.sound() {
			return tail, err
		}
	}
	counted := make(chan error, 1)
	var have count
	go func() {
		var err error
		have, err = s.count(ctx, subj)
		counted <- err
	}()
	tail, err := s.last(ctx, stream, subj)
	if err := <-counted; err != nil {
		return nil, err
	}
	s.leads(have)
	if errors.Is(err, ErrCorrupt) && s.replicas > 1 {
		return s.hidden(ctx, stream, subj, nil, have)
	}
	if err != nil {
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
		if errors.Is(err, errUnreadable) {
			m, err = s.askLeader(ctx, map[string]any{"last_by_subj": subj})
		}
	}
	if err != nil || m == nil {
		return nil, blame(stream, err)
	}
	return s.decodeStored(stream, subj, m)
}

// blame names the stream in a CorruptionError that does not know it.
func blame(stream StreamID, err error) error {
	var damage *CorruptionError
	if errors.As(err, &damage) && damage.Stream == (StreamID{}) {
		damage.Stream = stream
	}
	return err
}

// hidden returns the last commit of a stream from the replicas, where the
// leader lost messages.
func (s *Store) hidden(ctx context.Context, stream StreamID, subj string, tail *commit, have count) (*commit, error) {
	answers, err := s.everywhere(ctx, map[string]any{"last_by_subj": subj})
	if err != nil {
		return nil, err
	}
	if m := newest(answers); m != nil && m.position > tail.mark().position {
		if tail, err = s.decodeStored(stream, subj, m); err != nil {
			return nil, err
		}
	}
	if err := s.forked(ctx, stream, subj, tail); err != nil {
		return nil, err
	}
	switch ordinal := tail.mark().ordinal; {
	case tail == nil && have.commits > 0:
		return nil, s.corrupt(stream, have.last, "the server has %d commits of the stream, and the last of them cannot be read", have.commits)
	case ordinal < have.commits:
		return nil, s.corrupt(stream, tail.mark().position, "the server has %d commits of the stream, and the last one that it can read is number %d", have.commits, ordinal)
	}
	return tail, s.lacks(have)
}

// forked reports an error if a replica has a commit between the last one and
// what that one calls its predecessor: a leader that lost it took the next one
// all the same.
func (s *Store) forked(ctx context.Context, stream StreamID, subj string, tail *commit) error {
	if tail == nil {
		return nil
	}
	answers, err := s.everywhere(ctx, map[string]any{"seq": tail.previous() + 1, "next_by_subj": subj})
	if err != nil {
		return err
	}
	for _, m := range answers {
		if m.position < tail.position {
			return s.corrupt(stream, tail.position, "it follows position %d, and the commit at position %d follows that too: the leader lost it and accepted another", tail.previous(), m.position)
		}
	}
	return nil
}

// count is what the server counts.
type count struct {
	commits           uint64 // of one stream
	messages          uint64 // in the log
	first, last, gone uint64 // positions
	log               string // its identity
	leader, cluster   string // the node that counts
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
		Error *jetstream.APIError `json:"error"`
		jetstream.StreamInfo
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return count{}, s.unavailable(fmt.Errorf("malformed answer: %w", err))
	}
	if answer.Error != nil {
		return count{}, s.unavailable(answer.Error)
	}
	return counted(&answer.StreamInfo, subj), nil
}

func counted(info *jetstream.StreamInfo, subj string) count {
	c := count{commits: info.State.Subjects[subj], messages: info.State.Msgs, first: info.State.FirstSeq, last: info.State.LastSeq, gone: uint64(info.State.NumDeleted), log: info.Config.Metadata[metaID]}
	if info.Cluster != nil {
		c.leader, c.cluster = info.Cluster.Leader, info.Cluster.Name
	}
	return c
}

// everywhere asks the replicas for a message, one of which the leader does not
// find, and returns their answers. Which replica answers is chance: it asks so
// often that all did, almost certainly. On one node there is nobody to ask.
func (s *Store) everywhere(ctx context.Context, req map[string]any) (answers []*stored, err error) {
	const each = 8
	if s.replicas == 1 {
		return nil, nil
	}
	for range each * s.replicas {
		m, err := s.askDirect(ctx, "", req)
		if err != nil && !errors.Is(err, errUnreadable) {
			return nil, err
		}
		if m != nil {
			answers = append(answers, m)
		}
	}
	return answers, nil
}

// newest returns the answer that is furthest, nil for none: a replica may be
// behind.
func newest(answers []*stored) (last *stored) {
	for _, m := range answers {
		if last == nil || m.position > last.position {
			last = m
		}
	}
	return last
}

// tailAtLeast returns a stream's last commit, which must not be before a
// position that the server acknowledged once. On replicas it asks again for so
// long: a leader that was cut off answers from the past.
func (s *Store) tailAtLeast(ctx context.Context, stream StreamID, subj string, position uint64, patient time.Duration) (*commit, error) {
	var retry retrier
	for {
		tail, err := s.tail(ctx, stream, subj)
		at := tail.mark().position
		if err != nil || at >= position {
			return tail, err
		}
		if retry.attempts == 0 {
			retry.start = time.Now()
		}
		lost := s.corrupt(stream, position, "the stream ends at position %d, before what the server acknowledged: the log lost commits or is another one", at)
		if s.replicas == 1 || time.Since(retry.start) >= patient {
			return nil, lost
		}
		if err := retry.pause(ctx, errBehind); err != nil {
			return nil, s.unavailable(err)
		}
	}
}

// errBehind is not yet proof of damage.
var errBehind = errors.New("the leader does not have what was acknowledged")
