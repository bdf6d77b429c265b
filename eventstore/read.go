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
	// Recalled says that After was kept outside of the process, in a file for
	// example, and may be of a history that this log does not have. Where the
	// log does not reach it, the error then comes at once. Otherwise replicas
	// are asked again for a while, since this process saw that they had it.
	Recalled bool
	// Backward yields the last version first.
	Backward bool
	// Until leaves out the stream's first commit that happened later, by its
	// Time, and all after it, whatever their times are. To find it the stream
	// is read from its beginning. Default: no commit is left out.
	Until time.Time
	// UntilRecorded does the same by the time that the log recorded.
	UntilRecorded time.Time
}

// Head returns where a stream stands: the zero [Revision] if it has no events.
// It sees every commit that was acknowledged before the call, except in the
// moment that [Store.Read] names.
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

// Read returns the events of a stream in the order of their versions, or in the
// opposite one. A stream
// without events, or a range beyond its end, yields nothing. The read sees
// every commit that was acknowledged before the iteration began, and may not
// see later ones. On replicas there is an exception: a leader that was paused or
// cut off may not know yet that there is another one, and answers the clients
// connected to it with the stream as it was. What a client has seen itself it
// can insist on, with After.
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
	patient := staleness
	if r.Recalled {
		patient = 0
	}
	tail, err := r.tailAtLeast(ctx, r.stream, r.subj, r.after.position, patient)
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
	if r.after.version > 0 && tail.position > r.after.position && (tail.ordinal <= r.after.ordinal || tail.first <= r.after.version) {
		return r.corrupt(r.stream, tail.position, "it is commit number %d of its stream, after number %d at position %d was read", tail.ordinal, r.after.ordinal, r.after.position)
	}
	if err := r.bound(ctx); err != nil {
		return err
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
	if r.Backward {
		return r.backward(ctx, lo, end)
	}
	return r.forward(ctx, lo, end)
}

// bound lowers To to the last version that the times let through.
func (r *reader) bound(ctx context.Context) error {
	if r.Until.IsZero() && r.UntilRecorded.IsZero() {
		return nil
	}
	last := uint64(0)
	for e, err := range r.Store.Read(ctx, r.stream, &ReadOptions{To: r.To}) {
		if err != nil {
			return err
		}
		if later(e.Time, r.Until) || later(e.Recorded, r.UntilRecorded) {
			break
		}
		last = e.Version
	}
	r.To = last
	return nil
}

func later(t, limit time.Time) bool { return !limit.IsZero() && t.After(limit) }

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
			if err := r.check(c); err != nil {
				return err
			}
			for i := range c.events {
				if err := r.emit(c.event(i)); err != nil {
					return err
				}
			}
		}
		lo = hi + 1
	}
	return nil
}

// backward yields the commits from end down to ordinal lo, in windows that
// grow, since who reads backward often wants a few only.
func (r *reader) backward(ctx context.Context, lo uint64, end *commit) error {
	const first, factor = 8, 4
	base := r.prev
	for size, top := uint64(first), end; ; size = min(size*factor, window) {
		// One commit more than are yielded: to check the lowest one against,
		// and to go on from.
		from := lo
		if top.ordinal-lo > size {
			from = top.ordinal - size
		}
		commits, err := r.gather(ctx, from, top.ordinal, top, nil)
		if err != nil {
			return err
		}
		r.prev = mark{}
		if from == lo {
			r.prev = base
		}
		for _, c := range commits {
			if err := r.check(c); err != nil {
				return err
			}
		}
		last := from == lo
		if !last {
			top, commits = commits[0], commits[1:]
		}
		for _, c := range slices.Backward(commits) {
			for i := range slices.Backward(c.events) {
				if err := r.emit(c.event(i)); err != nil {
					return err
				}
			}
		}
		if last {
			return nil
		}
	}
}

// check checks that a commit follows the one before it, where that is known.
func (r *reader) check(c *commit) error {
	if r.prev.ordinal > 0 || c.ordinal == 1 {
		if err := follows(r.prev, c); err != "" {
			return r.corrupt(r.stream, c.position, "%s", err)
		}
	}
	r.prev = c.mark()
	return nil
}

// emit yields an event if it is wanted.
func (r *reader) emit(e Event) error {
	if e.Version >= r.From && e.Version <= r.To && !r.yield(e, nil) {
		return errStopped
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
