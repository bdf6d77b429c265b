package storetest

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// memory is the smallest store that passes: it shows what a replacement needs
// and lets the suite be tested. Positions have gaps.
type memory struct {
	mu      sync.Mutex
	commits []commit
	streams map[eventstore.StreamID][]commit
	grown   chan struct{} // closed when a commit is appended
}

// A commit is the events of one append.
type commit []eventstore.Event

func (c commit) last() eventstore.Event  { return c[len(c)-1] }
func (c commit) at() eventstore.Revision { return c.last().Revision() }

func newMemory() *memory {
	return &memory{streams: make(map[eventstore.StreamID][]commit), grown: make(chan struct{})}
}

func (m *memory) Append(ctx context.Context, id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) (none eventstore.Revision, err error) {
	if opts == nil {
		opts = &eventstore.AppendOptions{}
	}
	if err := check(id, expected, data, opts); err != nil {
		return none, err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.streams[id]
	var head eventstore.Revision
	if len(all) > 0 {
		head = all[len(all)-1].at()
	}
	fits := true
	switch e := expected.(type) {
	case eventstore.Revision:
		n, err := find(all, e)
		if err != nil {
			return none, err
		}
		fits = n == len(all)
	case eventstore.Version:
		fits = uint64(e) == head.Version
	case eventstore.Existence:
		fits = e == eventstore.Any || (e == eventstore.Exists) == (head.Version > 0)
	}
	for _, c := range all {
		if opts.CommitID == "" || c[0].CommitID != opts.CommitID {
			continue
		}
		if !slices.EqualFunc(c, data, func(e eventstore.Event, d eventstore.EventData) bool {
			return e.Type == d.Type && e.ContentType == d.ContentType && string(e.Data) == string(d.Data)
		}) {
			return none, &eventstore.CommitIDReusedError{Stream: id, CommitID: opts.CommitID, Stored: c.at()}
		}
		at := c.at()
		at.Replayed = true
		return at, nil
	}
	if !fits {
		return none, &eventstore.ConflictError{Stream: id, Expected: expected, Actual: head.Version}
	}
	e := eventstore.Event{
		Stream: id, Version: head.Version, Position: 10 * uint64(len(m.commits)+1), CommitID: opts.CommitID,
		Time: opts.Time.UTC(), Recorded: time.Now().UTC(), Metadata: opts.Metadata,
	}
	if e.CommitID == "" {
		e.CommitID = rand.Text()
	}
	if opts.Time.IsZero() {
		e.Time = e.Recorded
	}
	var c commit
	for _, d := range data {
		e.EventData = d
		e.Version++
		c = append(c, e)
	}
	m.commits, m.streams[id] = append(m.commits, c), append(all, c)
	close(m.grown)
	m.grown = make(chan struct{})
	return c.at(), nil
}

// find returns how many commits a stream had at a revision, of which the
// position tells.
func find(all []commit, at eventstore.Revision) (int, error) {
	if at.Position == 0 && at.Version == 0 {
		return 0, nil
	}
	for i, c := range all {
		if c[0].Position == at.Position && c[0].CommitID == at.CommitID {
			return i + 1, nil
		}
	}
	return 0, &eventstore.InvalidError{What: "revision", Value: at.String(), Reason: "is not of this stream"}
}

func (m *memory) stream(id eventstore.StreamID) []commit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.streams[id]
}

func (m *memory) Head(ctx context.Context, id eventstore.StreamID) (eventstore.Revision, error) {
	if err := checkStream(id); err != nil {
		return eventstore.Revision{}, err
	}
	if all := m.stream(id); len(all) > 0 {
		return all[len(all)-1].at(), nil
	}
	return eventstore.Revision{}, nil
}

func (m *memory) Read(_ context.Context, id eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	if opts == nil {
		opts = &eventstore.ReadOptions{}
	}
	return func(yield func(eventstore.Event, error) bool) {
		all := m.stream(id)
		skip, err := find(all, opts.After)
		if err == nil {
			err = checkStream(id)
		}
		if err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		var chosen []eventstore.Event
		for i, c := range all {
			later := func(at, limit time.Time) bool { return !limit.IsZero() && at.After(limit) }
			if later(c[0].Time, opts.Until) || later(c[0].Recorded, opts.UntilRecorded) {
				break
			}
			for _, e := range c {
				if i >= skip && (skip > 0 || e.Version >= opts.From) && (opts.To == 0 || e.Version <= opts.To) {
					chosen = append(chosen, e)
				}
			}
		}
		if opts.Backward {
			slices.Reverse(chosen)
		}
		for _, e := range chosen {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) Log(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	return m.events(ctx, after, opts, false)
}

func (m *memory) Follow(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	return m.events(ctx, after, opts, true)
}

func (m *memory) events(ctx context.Context, after uint64, opts *eventstore.LogOptions, follow bool) iter.Seq2[eventstore.Event, error] {
	if opts == nil {
		opts = &eventstore.LogOptions{}
	}
	return func(yield func(eventstore.Event, error) bool) {
		if err := checkChoice(opts); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		for next := 0; ; {
			m.mu.Lock()
			commits, grown := m.commits[next:], m.grown
			m.mu.Unlock()
			next += len(commits)
			for _, e := range slices.Concat(commits...) {
				if err := ctx.Err(); err != nil {
					yield(eventstore.Event{}, err)
					return
				}
				if e.Position > after && wanted(opts.Kinds, e.Stream.Kind) && wanted(opts.Types, e.Type) && !yield(e, nil) {
					return
				}
			}
			if !follow {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				yield(eventstore.Event{}, ctx.Err())
				return
			}
		}
	}
}

func wanted(names []string, name string) bool {
	return len(names) == 0 || slices.Contains(names, name)
}

func (m *memory) Streams(_ context.Context, kind string, after uint64) iter.Seq2[eventstore.StreamHead, error] {
	return func(yield func(eventstore.StreamHead, error) bool) {
		if err := checkKind(kind); kind != "" && err != nil {
			yield(eventstore.StreamHead{}, err)
			return
		}
		m.mu.Lock()
		var heads []eventstore.StreamHead
		for _, c := range m.commits {
			if all := m.streams[c[0].Stream]; all[len(all)-1].at() != c.at() {
				continue
			}
			if e := c.last(); e.Position > after && (kind == "" || e.Stream.Kind == kind) {
				heads = append(heads, eventstore.StreamHead{Stream: e.Stream, Revision: c.at(), Time: e.Time, Recorded: e.Recorded})
			}
		}
		m.mu.Unlock()
		for _, h := range heads {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func (m *memory) Position(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.commits) == 0 {
		return 0, nil
	}
	return m.commits[len(m.commits)-1][0].Position, nil
}

// memories are the logs of one run.
func memories(wrap func(Store) Store) func(*testing.T, string) Store {
	var mu sync.Mutex
	logs := make(map[string]*memory)
	return func(_ *testing.T, log string) Store {
		mu.Lock()
		defer mu.Unlock()
		if logs[log] == nil {
			logs[log] = newMemory()
		}
		return wrap(logs[log])
	}
}

func TestMemory(t *testing.T) {
	Run(t, memories(func(s Store) Store { return s }))
}
