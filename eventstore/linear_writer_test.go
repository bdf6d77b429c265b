package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/headwater-go/headwater/eventstore"
)

// A writer is one client: it does one thing after another and writes down what
// it was told.
type writer struct {
	*testing.T
	run     *linearRun
	number  int
	store   *eventstore.Store
	random  *rand.Rand
	commits int  // to name them
	patient bool // it never gives up soon

	held  map[eventstore.StreamID]eventstore.Revision // latest it was told of
	seen  map[eventstore.StreamID]seen                // latest it has read up to
	ops   []porcupine.Operation
	acked []acked
	tally tally
}

// seen is all of a stream up to a revision.
type seen struct {
	at    eventstore.Revision
	chain chain
}

// acked is an append that was acknowledged.
type acked struct {
	id     eventstore.StreamID
	base   eventstore.Expectation // nil unless it can be appended again after it
	events []eventstore.EventData
	at     eventstore.Revision
}

// tally counts what came of operations.
type tally struct {
	acknowledged, conflicts, reads int
	unknown, retried, resolved     int            // appends of unknown outcome, attempts to find out, and those that did
	nothing                        map[string]int // appends that stored nothing and reads without an answer, by error
}

// work does operations until the run is over.
func (w *writer) work() {
	for !w.run.over.Load() && !w.Failed() {
		id := w.run.pick(w.random)
		switch n := w.random.IntN(100); {
		case n < 12:
			w.head(id)
		case n < 25:
			w.read(id)
		case n < 30 && len(w.acked) > 0:
			w.repeat(w.acked[w.random.IntN(len(w.acked))])
		default:
			w.append(id)
		}
	}
}

// look does what changes nothing.
func (w *writer) look(id eventstore.StreamID) {
	if w.random.IntN(2) == 0 {
		w.head(id)
	} else {
		w.read(id)
	}
}

// record writes an operation down which began at a time and ends now.
func (w *writer) record(begin int64, op operation, got result) {
	end := w.run.clock()
	if got.verdict == unknown {
		end = forever
	}
	w.ops = append(w.ops, porcupine.Operation{ClientId: w.number, Input: op, Output: got, Call: begin, Return: end})
	w.run.done.Add(1)
}

// context bounds an operation: by a moment, so that outcomes stay unknown, or
// by what an election takes.
func (w *writer) context() (context.Context, context.CancelFunc) {
	limit := 12 * time.Second
	switch n := w.random.IntN(8); {
	case w.patient:
	case n == 0:
		limit = time.Millisecond + time.Duration(w.random.IntN(20))*time.Millisecond
	case n < 3:
		limit = 300 * time.Millisecond
	}
	return context.WithTimeout(w.run.ctx, limit)
}

// failed takes an error after which nothing happened, and fails the test if it
// is none of those that faults explain.
func (w *writer) failed(what string, id eventstore.StreamID, err error) {
	kind := "other"
	switch {
	case errors.Is(err, eventstore.ErrCorrupt), errors.Is(err, eventstore.ErrConflict), errors.Is(err, eventstore.ErrCommitIDReused),
		errors.Is(err, eventstore.ErrInvalid), errors.Is(err, eventstore.ErrTooLarge), errors.Is(err, eventstore.ErrUnsafeLog):
		w.Errorf("client %d: %s %s: %v", w.number, what, id, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		kind = "end of the context"
	case errors.Is(err, eventstore.ErrUnavailable):
		kind = "unavailable"
	default:
		w.Logf("client %d: %s %s: %v", w.number, what, id, err)
	}
	w.tally.nothing[kind]++
}

func (w *writer) head(id eventstore.StreamID) {
	ctx, cancel := w.context()
	defer cancel()
	begin := w.run.clock()
	at, err := w.store.Head(ctx, id)
	if err != nil {
		w.failed("head of", id, err)
		return
	}
	w.record(begin, operation{stream: id.ID, action: doHead}, result{place: placeOf(at)})
	w.tally.reads++
	w.held[id] = at
}

// read reads a stream as a whole, or what is new.
func (w *writer) read(id eventstore.StreamID) {
	ctx, cancel := w.context()
	defer cancel()
	var from seen
	if w.random.IntN(3) > 0 {
		from = w.seen[id]
	}
	begin := w.run.clock()
	_, got, err := readAfter(ctx, w.store, id, from)
	if err != nil {
		w.failed("read of", id, err)
		return
	}
	w.record(begin, operation{stream: id.ID, action: doRead}, result{place: placeOf(got.at), chain: got.chain})
	w.tally.reads++
	w.held[id], w.seen[id] = got.at, got
}

// readAfter returns the commits after a place in a stream, and its end.
func readAfter(ctx context.Context, store *eventstore.Store, id eventstore.StreamID, from seen) (commits []eventstore.Revision, end seen, err error) {
	end = from
	version, events := from.at.Version, uint64(0)
	for e, err := range store.Read(ctx, id, &eventstore.ReadOptions{After: from.at}) {
		if err != nil {
			return nil, seen{}, err
		}
		if version++; e.Version != version {
			return nil, seen{}, fmt.Errorf("%w: version %d comes after %d", eventstore.ErrCorrupt, e.Version, version-1)
		}
		if events++; version == e.Revision().Version {
			end = seen{e.Revision(), end.chain.add(e.CommitID, events)}
			commits, events = append(commits, end.at), 0
		}
	}
	if events > 0 {
		err = fmt.Errorf("%w: a commit ends at version %d", eventstore.ErrCorrupt, version)
	}
	return commits, end, err
}

// expectation chooses one for the next append: often one that holds.
func (w *writer) expectation(id eventstore.StreamID) eventstore.Expectation {
	held := w.held[id]
	switch n := w.random.IntN(20); {
	case n < 9:
		return held
	case n < 12:
		return eventstore.Version(held.Version)
	case n < 13:
		return eventstore.Version(held.Version + uint64(w.random.IntN(3)))
	case n < 14:
		return eventstore.NoStream
	case n < 16:
		return eventstore.Exists
	}
	return eventstore.Any
}

// append appends a commit. Where the outcome is unknown it mostly finds out,
// by appending it again as the error says. All these attempts are one
// operation; but a conflict is that of the attempt that met it, since those
// before it did nothing then.
func (w *writer) append(id eventstore.StreamID) {
	w.commits++
	name := fmt.Sprint(w.number, ".", w.commits)
	var data []eventstore.EventData
	for i := range 1 + w.random.IntN(3) {
		data = append(data, events(fmt.Sprint(name, ".", i))...)
	}
	var opts *eventstore.AppendOptions
	if w.random.IntN(2) == 0 {
		opts = named(name)
	}
	begin := w.run.clock()
	last := begin
	op := operation{stream: id.ID, expected: w.expectation(id), events: uint64(len(data))}
	at, err := w.attempt(id, op.expected, data, opts)
	var open *eventstore.UnknownOutcomeError
	if err == nil && at.Replayed || errors.As(err, &open) && open.Stream != id {
		w.Errorf("client %d: the first attempt at %s, expecting %v: %+v, %v", w.number, id, op.expected, at, err)
	}
	if open != nil {
		w.tally.unknown++
		op.id, op.expected = open.CommitID, open.Expected
		for tries := 0; unsettled(err); tries++ {
			if tries == 4 || w.random.IntN(8) == 0 || w.run.over.Load() {
				w.record(begin, op, result{verdict: unknown})
				return
			}
			w.tally.retried++
			last = w.run.clock()
			at, err = w.attempt(id, open.Expected, data, named(open.CommitID))
		}
		w.tally.resolved++
	}
	var conflict *eventstore.ConflictError
	switch {
	case err == nil:
		if op.id != "" && op.id != at.CommitID {
			w.Errorf("client %d: commit %q of %s is stored as %q", w.number, op.id, id, at.CommitID)
		}
		op.id = at.CommitID
		w.record(begin, op, result{place: placeOf(at)})
		w.tally.acknowledged++
		w.remember(id, op, data, at)
	case errors.As(err, &conflict):
		w.record(last, op, result{verdict: conflicted, place: place{version: conflict.Actual}})
		w.tally.conflicts++
		w.read(id) // as one does
	default:
		w.failed("append to", id, err)
	}
}

func (w *writer) attempt(id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	ctx, cancel := w.context()
	defer cancel()
	return w.store.Append(ctx, id, expected, data, opts)
}

// unsettled reports whether an attempt after one of unknown outcome left it so.
func unsettled(err error) bool {
	return errors.Is(err, eventstore.ErrUnknownOutcome) || errors.Is(err, eventstore.ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// remember keeps what an acknowledgement says.
func (w *writer) remember(id eventstore.StreamID, op operation, data []eventstore.EventData, at eventstore.Revision) {
	a := acked{id: id, events: data, at: at}
	switch op.expected.(type) {
	case eventstore.Revision, eventstore.Version:
		a.base = op.expected
	}
	w.acked = append(w.acked, a)
	w.held[id] = at
	if s := w.seen[id]; op.expected == eventstore.Expectation(s.at) {
		w.seen[id] = seen{at, s.chain.add(op.id, op.events)}
	}
}

// repeat appends a commit again that was acknowledged, which must not do
// anything.
func (w *writer) repeat(a acked) {
	if a.base == nil {
		return
	}
	begin := w.run.clock()
	at, err := w.attempt(a.id, a.base, a.events, named(a.at.CommitID))
	switch {
	case err == nil && same(at, a.at) && at.Replayed:
		w.record(begin, operation{stream: a.id.ID, action: doRepeat, id: at.CommitID}, result{place: placeOf(at)})
	case err == nil:
		w.Errorf("client %d: a commit stored at %+v and appended again is at %+v", w.number, a.at, at)
	case unsettled(err):
		w.tally.nothing["repetition not answered"]++
	default:
		w.Errorf("client %d: a commit stored at %+v and appended again: %v", w.number, a.at, err)
	}
}
