package eventstore

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"time"
)

// ReadOptions narrow a read. The zero value of each field is its default.
type ReadOptions struct {
	// From is the first version to read; default: the stream's first.
	From uint64
	// To is the last version to read; default: the stream's last.
	To uint64
	// After continues after a revision that was read before, which is cheaper
	// than From: only what is newer is fetched, and checked to follow it.
	// From is not looked at then.
	After Revision
}

// Head returns where a stream stands: the zero [Revision] if it has no events.
// It sees every commit that was acknowledged before the call.
func (s *Store) Head(ctx context.Context, stream StreamID) (Revision, error) {
	subj, err := subject(s.log, stream)
	if err != nil {
		return Revision{}, err
	}
	tail, err := s.tail(ctx, stream, subj)
	if err != nil {
		return Revision{}, err
	}
	return tail.mark().revision(s.identity, stream), nil
}

// Read returns the events of a stream in the order of their versions. A stream
// without events, or a range beyond its end, yields nothing. The read sees
// every commit that was acknowledged before the iteration began, and may not
// see later ones.
//
// What it yields is whole: versions without a gap, each commit checked to name
// the one before it and to have the digest of its content and all before it.
// Where the log does not hold that, a [CorruptionError] is yielded, never a
// history that is silently short.
//
// An error is yielded last, with a zero Event. Besides corruption it may be an
// [InvalidError], or match [ErrUnavailable], or be the end of the context. The
// sequence may be iterated again, and then reads again.
func (s *Store) Read(ctx context.Context, stream StreamID, opts *ReadOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r := reader{Store: s, stream: stream, yield: yield}
		if opts != nil {
			r.ReadOptions = *opts
		}
		if err := r.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// errStopped says that the caller wants no more events.
var errStopped = errors.New("stopped")

const (
	// window is how many commits of a long stream are fetched, checked and
	// yielded together, and so what bounds a read's memory. It is a multiple
	// of the widest stride.
	window = 1024
	// loose is over how many commits a read from a version rather fetches a
	// few too many than searches for the exact one.
	loose = 32
)

// A reader reads one stream once.
type reader struct {
	*Store
	ReadOptions
	stream StreamID
	subj   string
	yield  func(Event, error) bool
	after  mark // what After means
	prev   mark // checked so far
}

func (r *reader) run(ctx context.Context) (err error) {
	if r.subj, err = subject(r.log, r.stream); err != nil {
		return err
	}
	if r.after, err = r.mark(r.stream, r.After); err != nil {
		return err
	}
	tail, err := r.tailAtLeast(ctx, r.stream, r.subj, r.after.position)
	if err != nil || tail == nil {
		return err
	}
	if r.To == 0 {
		r.To = math.MaxUint64
	}
	r.From = max(r.From, 1)
	if r.after.version > 0 {
		r.From = r.after.version + 1
	}
	if tail.position == r.after.position && tail.digest != r.after.digest {
		return r.corrupt(r.stream, tail.position, "another commit stands there than the one read before")
	}
	if r.From > tail.last() || r.To < r.From {
		return nil
	}
	end := tail
	if r.To < tail.first {
		if end, err = r.seek(ctx, tail, r.subj, r.To); err != nil {
			return err
		}
	}
	lo, err := r.start(ctx, end)
	if err != nil {
		return err
	}
	return r.forward(ctx, lo, end)
}

// start returns the ordinal to read from: of the commit that holds From, or one
// before it that tells the digest to check it against.
func (r *reader) start(ctx context.Context, end *commit) (uint64, error) {
	if r.after.version > 0 {
		r.prev = r.after
		return r.after.ordinal + 1, nil
	}
	if r.From == 1 {
		return 1, nil
	}
	if end.first <= r.From {
		return max(end.ordinal-1, 1), nil
	}
	// Each commit has one event at least.
	lo := uint64(1)
	if between := end.first - r.From + 1; between < end.ordinal {
		lo = end.ordinal - between
	}
	if end.ordinal-lo <= loose {
		return lo, nil
	}
	first, err := r.seek(ctx, end, r.subj, r.From)
	if err != nil {
		return 0, err
	}
	return max(first.ordinal-1, 1), nil
}

// forward yields the commits from ordinal lo to end, a window at a time.
func (r *reader) forward(ctx context.Context, lo uint64, end *commit) error {
	var anchors map[uint64]uint64
	if end.ordinal-lo >= window {
		var err error
		if anchors, err = r.anchors(ctx, lo, end); err != nil {
			return err
		}
	}
	for lo <= end.ordinal {
		hi, top := end.ordinal, end
		if boundary := (lo/window + 1) * window; anchors != nil && boundary < hi {
			hi, top = boundary, nil
		}
		commits, err := r.gather(ctx, lo, hi, top, anchors)
		if err != nil {
			return err
		}
		for _, c := range commits {
			if err := r.emit(c); err != nil {
				return err
			}
		}
		lo = hi + 1
	}
	return nil
}

// emit checks that a commit follows the one before it and yields its events
// that are wanted.
func (r *reader) emit(c *commit) error {
	if r.prev.ordinal > 0 || c.ordinal == 1 {
		if err := follows(r.prev, c); err != "" {
			return r.corrupt(r.stream, c.position, "%s", err)
		}
	}
	r.prev = c.mark()
	for i := range c.events {
		if e := c.event(i); e.Version >= r.From && e.Version <= r.To && !r.yield(e, nil) {
			return errStopped
		}
	}
	return nil
}

// follows says why a commit is not the successor of another, "" if it is.
func follows(prev mark, c *commit) string {
	switch {
	case c.ordinal != prev.ordinal+1 || c.first != prev.version+1:
		return "a commit before it is missing: it does not follow " + Version(prev.version).String()
	case c.previous() != prev.position:
		return "it names another commit as its predecessor"
	case c.digest != c.digestAfter(prev.digest):
		return "its digest is not that of its content and predecessor: one of them was altered"
	}
	return ""
}

// anchors returns the positions of the commits whose ordinal is a multiple of
// the widest stride, from lo to end.
func (r *reader) anchors(ctx context.Context, lo uint64, end *commit) (map[uint64]uint64, error) {
	widest := strides[len(strides)-1]
	positions := make(map[uint64]uint64, (end.ordinal-lo)/widest+1)
	for c := end; ; {
		lowest, at := uint64(0), uint64(0)
		for ordinal, position := range c.names() {
			if ordinal%widest == 0 && ordinal >= lo {
				positions[ordinal] = position
				lowest, at = ordinal, position
			}
		}
		if lowest == 0 || lowest < lo+widest {
			return positions, nil
		}
		got, err := r.fetch(ctx, r.stream, r.subj, at)
		if err != nil {
			return nil, err
		}
		if c = got[0]; c.ordinal != lowest {
			return nil, r.corrupt(r.stream, at, "a later commit names it as number %d of the stream and it says %d", lowest, c.ordinal)
		}
	}
}

// gather fetches the commits of ordinals lo to hi: those whose positions are
// known, and whatever these name, as soon as they are there. top is the last
// commit where it is at hand, anchors are positions known already.
func (r *reader) gather(ctx context.Context, lo, hi uint64, top *commit, anchors map[uint64]uint64) ([]*commit, error) {
	commits := make([]*commit, hi-lo+1)
	known := make([]uint64, hi-lo+1)
	var fresh []uint64
	learn := func(c *commit) ([]uint64, error) {
		if c.ordinal < lo || c.ordinal > hi || known[c.ordinal-lo] != c.position {
			return nil, r.corrupt(r.stream, c.position, "it says it is commit number %d of the stream, and later ones say otherwise", c.ordinal)
		}
		commits[c.ordinal-lo] = c
		fresh = fresh[:0]
		for ordinal, position := range c.names() {
			if ordinal < lo {
				break
			}
			switch known[ordinal-lo] {
			case position:
			case 0:
				known[ordinal-lo] = position
				fresh = append(fresh, position)
			default:
				return nil, r.corrupt(r.stream, c.position, "it and a later commit name different predecessors")
			}
		}
		return fresh, nil
	}
	var begin []uint64
	for ordinal, position := range anchors {
		if lo <= ordinal && ordinal <= hi {
			known[ordinal-lo] = position
			begin = append(begin, position)
		}
	}
	if top != nil {
		known[top.ordinal-lo] = top.position
		named, err := learn(top)
		if err != nil {
			return nil, err
		}
		begin = append(begin, named...)
	}
	if err := r.walk(ctx, r.stream, r.subj, begin, learn); err != nil {
		return nil, err
	}
	if missing := slices.Index(commits, nil); missing >= 0 {
		return nil, r.corrupt(r.stream, 0, "no later commit names number %d of the stream", lo+uint64(missing))
	}
	return commits, nil
}

// names yields the ordinals and positions that a commit names, newest first.
func (c *commit) names() func(yield func(ordinal, position uint64) bool) {
	return func(yield func(ordinal, position uint64) bool) {
		var buf [maxAncestors]uint64
		for i, ordinal := range ancestors(buf[:0], c.ordinal) {
			if !yield(ordinal, c.back[i]) {
				return
			}
		}
	}
}

// nearest returns the position that c names of the earliest commit not before
// the given ordinal, which is below c's own.
func (c *commit) nearest(ordinal uint64) (position uint64) {
	for o, p := range c.names() {
		if o < ordinal {
			break
		}
		position = p
	}
	return position
}

// seek returns the commit that holds a version, which is not above c's last.
func (s *Store) seek(ctx context.Context, c *commit, subj string, version uint64) (*commit, error) {
	for version < c.first {
		// The commit sought has an ordinal of at most version, and of at least
		// c's less one for each event between.
		hi := min(version, c.ordinal-1)
		lo := c.ordinal - min(c.ordinal-1, c.first-version)
		positions := []uint64{c.nearest(hi)}
		for ordinal, p := range c.names() {
			if ordinal >= lo && ordinal < hi {
				positions = append(positions, p)
			}
		}
		candidates, err := s.fetch(ctx, c.stream, subj, positions...)
		if err != nil {
			return nil, err
		}
		before := c.ordinal
		for _, candidate := range candidates {
			if candidate.last() >= version && candidate.ordinal < c.ordinal {
				c = candidate
			}
		}
		if c.ordinal == before {
			return nil, s.corrupt(c.stream, c.position, "version %d is not where the commits after it say", version)
		}
	}
	return c, nil
}

// tailAtLeast returns a stream's last commit, which must not be before a
// position that the server acknowledged once. On replicas it asks again for a
// while: a leader that was cut off answers from the past.
func (s *Store) tailAtLeast(ctx context.Context, stream StreamID, subj string, position uint64) (*commit, error) {
	const persists = 5 * time.Second
	retry := retrier{start: time.Now()}
	for {
		tail, err := s.tail(ctx, stream, subj)
		at := tail.mark().position
		if err != nil || at >= position {
			return tail, err
		}
		lost := s.corrupt(stream, position, "the stream ends at position %d, before what the server acknowledged: the log lost commits or is another one", at)
		if s.replicas == 1 || time.Since(retry.start) > persists {
			return nil, lost
		}
		if err := retry.pause(ctx, lost); err != nil {
			return nil, err
		}
	}
}
