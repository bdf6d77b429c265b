package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// A batch is what becomes one commit.
type batch struct {
	line     int // of its first event
	stream   eventstore.StreamID
	id       string
	time     time.Time
	metadata map[string]string
	events   []eventstore.EventData

	first    uint64   // version of the first event, 0: whatever comes next
	position uint64   // where it was in the log that it came from, 0: in none
	ids      []string // of the events
	left     int      // attributes that a log cannot keep
}

// last returns the version of the last event.
func (b *batch) last() uint64 { return b.first + uint64(len(b.events)) - 1 }

// A lineError is what is wrong with a line.
type lineError struct {
	file string
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// A grouper makes the commits of a log of its exported events: those of one
// commit follow each other.
type grouper struct {
	lines   iter.Seq2[line, error]
	pending *batch
}

// batches yields the commits. Only what is known to be whole is yielded: of a
// commit in which a line is bad nothing.
func (g *grouper) batches(yield func(*batch, error) bool) {
	for l, err := range g.lines {
		whole, err := g.add(l, err)
		if err != nil {
			yield(&batch{line: l.number}, err)
			return
		}
		if whole != nil && !g.pass(whole, yield) {
			return
		}
	}
	if g.pending != nil {
		g.pass(g.pending, yield)
	}
}

func (g *grouper) pass(b *batch, yield func(*batch, error) bool) bool {
	err := b.checkIDs()
	return yield(b, err) && err == nil
}

// add adds a line to the commit that is under way. If it begins the next one,
// add returns the one before.
func (g *grouper) add(l line, err error) (whole *batch, _ error) {
	if err != nil {
		return nil, err
	}
	ce, err := parseCloudEvent(l.text)
	if err != nil {
		return nil, err
	}
	e, err := ce.exported()
	if err != nil {
		return nil, err
	}
	if b := g.pending; b == nil || b.stream != e.Stream || b.id != e.CommitID || b.position != e.Position {
		whole, g.pending = b, &batch{
			line: l.number, stream: e.Stream, first: e.Version, position: e.Position,
			id: e.CommitID, time: e.Time, metadata: e.Metadata,
		}
	}
	return whole, g.pending.add(e, ce.attributes[ceID])
}

func (b *batch) add(e eventstore.Event, id string) error {
	next := b.first + uint64(len(b.events))
	switch {
	case e.Version != next:
		return fmt.Errorf("version %d of stream %q comes where %d of the same commit should", e.Version, b.stream, next)
	case !e.Time.Equal(b.time) || !maps.Equal(e.Metadata, b.metadata):
		return errors.New("its time or metadata are not those of the event before, which is of the same commit")
	}
	b.events = append(b.events, e.EventData)
	b.ids = append(b.ids, id)
	return nil
}

// checkIDs finds out a commit that was cut, as far as its events tell.
func (b *batch) checkIDs() error {
	if len(b.ids) == 1 && b.ids[0] == b.id {
		return nil
	}
	for i, id := range b.ids {
		if want := b.id + "#" + strconv.Itoa(i+1); id != want {
			return fmt.Errorf("the id of event %d of commit %q is %q", i+1, b.id, id)
		}
	}
	if len(b.ids) == 1 {
		return fmt.Errorf("commit %q of stream %q has several events, and only the first is here", b.id, b.stream)
	}
	return nil
}

// A copier appends commits of another log where they were in their streams.
type copier struct {
	log  *eventstore.Store
	ends *revisions
}

// append appends a commit, and reports whether it was there already.
func (c *copier) append(ctx context.Context, b *batch) (present bool, err error) {
	var expected eventstore.Expectation = eventstore.Version(b.first - 1)
	if at, ok := c.ends.Get(b.stream); ok && at.Version == b.first-1 {
		expected = at // the same, and the stream's end need not be read
	}
	at, err := c.log.Append(ctx, b.stream, expected, b.events,
		&eventstore.AppendOptions{CommitID: b.id, Time: b.time, Metadata: b.metadata})
	if err != nil {
		return false, b.explain(err)
	}
	if at.Version != b.last() {
		return false, fmt.Errorf("stream %q has commit %q at version %d already, and here it is at %d; "+
			"if it is to be there twice, the same command goes on after the log's duplicate window, two minutes as a rule",
			b.stream, b.id, at.Version, b.last())
	}
	c.ends.Add(b.stream, at)
	return at.Replayed, nil
}

// explain says what a conflict means for an import. Reading again and deciding
// again, as the error says, is not for this program.
func (b *batch) explain(err error) error {
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	why := "the log has other events there"
	if conflict.Actual < b.first-1 {
		why = "the events before it are missing"
	}
	return fmt.Errorf("stream %q is at version %d, and commit %q begins with version %d: %s; nothing of it was written",
		b.stream, conflict.Actual, b.id, b.first, why)
}
