package eventstore

import (
	"context"
	"slices"
)

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
