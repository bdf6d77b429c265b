package eventstore

import (
	"context"
	"errors"
	"fmt"
)

// What the server says of a commit is not the whole truth of it: this file finds
// out what became of one.

// stored answers with the commit at the position that the server gave it, which
// must be after all that it had acknowledged before.
func (a *appender) stored(ctx context.Context, base mark, position, told uint64) (Revision, error) {
	a.position = position
	if position <= told {
		err := a.corrupt(a.stream, position, "the server stored commit %s there, and had acknowledged position %d before: the log lost commits and goes on from an older state", clip(a.id), told)
		a.water.lose(err)
		return Revision{}, err
	}
	if err := a.confirm(ctx, a.commit); err != nil {
		return Revision{}, err
	}
	if base.ordinal == 0 && a.reconnects() != a.began {
		// It may be a second first one.
		if _, err := a.tail(ctx, a.stream, a.subj); errors.Is(err, ErrCorrupt) {
			return Revision{}, fmt.Errorf("stream %s: commit %s was stored at position %d: %w", a.stream, clip(a.id), position, err)
		}
	}
	return a.revision(), nil
}

// confirm notes a commit that the server says it has. Where the connection was
// lost meanwhile, the server that says so may be one that lost others: then it
// must have what was noted before, and this one, or the note stays as it is.
func (a *appender) confirm(ctx context.Context, c *commit) error {
	if a.reconnects() != a.began {
		err := a.reconnected(ctx)
		if err == nil {
			err = a.holds(ctx, &note{c.logID, c.position, a.subj, c.id, c.digest}, "")
		}
		if errors.Is(err, ErrCorrupt) {
			a.water.lose(err)
			return fmt.Errorf("stream %s: commit %s was stored at position %d: %w", a.stream, clip(c.id), c.position, err)
		}
		if err != nil {
			return nil
		}
	}
	a.water.rise(c, a.subj)
	return nil
}

// unsettled is the error for an append that ends without its fate known. If the
// caller chose the id, an earlier call may have stored it.
func (a *appender) unsettled(base mark, cause error) error {
	if !a.sent && !a.named {
		return fmt.Errorf("stream %s: nothing stored: %w", a.stream, cause)
	}
	return &UnknownOutcomeError{Stream: a.stream, CommitID: a.id, Expected: base.revision(a.logID, a.stream), Cause: cause}
}

// replay answers with a commit of the same id that the stream holds.
func (a *appender) replay(ctx context.Context, found *commit, err error) (Revision, error) {
	if err == nil {
		err = a.confirm(ctx, found)
	}
	if err != nil {
		return Revision{}, err
	}
	rev := found.revision()
	if !a.sameEvents(found) {
		return Revision{}, &CommitIDReusedError{Stream: a.stream, CommitID: a.id, Stored: rev}
	}
	// What this call sent and found again is not a replay. Another attempt's
	// commit is, and differs in time, metadata or predecessor.
	rev.Replayed = a.named && (!a.sent || found.digest != a.digest)
	return rev, nil
}

// duplicate answers for a message whose id the server says it has stored: it
// says so by the id alone, so the commit itself decides.
func (a *appender) duplicate(ctx context.Context, base mark, position uint64) (Revision, error) {
	found, err := a.fetch(ctx, a.stream, a.subj, position)
	if err != nil {
		return Revision{}, a.unsettled(base, err)
	}
	if found[0].id != a.id {
		return Revision{}, a.corrupt(a.stream, position, "the server took it for commit %s and it is commit %s", clip(a.id), clip(found[0].id))
	}
	return a.replay(ctx, found[0], nil)
}

// successor returns the commit that stands after base, nil if none does, and
// the stream's last commit.
func (a *appender) successor(ctx context.Context, base mark) (next, tail *commit, err error) {
	tail, err = a.tailAtLeast(ctx, a.stream, a.subj, base.position, staleness)
	if err != nil || tail == nil || tail.position == base.position {
		return nil, tail, err
	}
	if tail.ordinal <= base.ordinal {
		return nil, tail, a.corrupt(a.stream, tail.position, "it is commit number %d of its stream, after number %d at position %d", tail.ordinal, base.ordinal, base.position)
	}
	for next = tail; next.ordinal > base.ordinal+1; {
		p := next.nearest(base.ordinal + 1)
		got, err := a.fetch(ctx, a.stream, a.subj, p)
		if err != nil {
			return nil, tail, err
		}
		next = got[0]
	}
	if next.previous() != base.position {
		return nil, tail, a.corrupt(a.stream, next.position, "it follows position %d, and this process was told %d", next.previous(), base.position)
	}
	return next, tail, nil
}

// remembered looks for the commit's id among the stream's last commits.
func (a *appender) remembered(ctx context.Context, tail *commit) (*commit, error) {
	if tail == nil || tail.id == a.id {
		return tail, nil
	}
	lo := uint64(1)
	if tail.ordinal > Remembered {
		lo = tail.ordinal - Remembered + 1
	}
	r := reader{Store: a.Store, stream: a.stream, subj: a.subj}
	recent, err := r.gather(ctx, lo, tail.ordinal, tail, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range recent {
		if c.id == a.id {
			return c, nil
		}
	}
	return nil, nil
}
