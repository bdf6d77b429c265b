package eventstore

// A commit names the positions of earlier commits of its stream, so that a
// reader who holds one commit fetches the others by position, many at a time,
// and never searches. The n-th commit of a stream (its ordinal, from 1) names
// the last 8 ordinals before it, the last 8 multiples of 8 and the last 8
// multiples of 64: a skip list that a writer can continue from the last
// commit's own names, without reading further back.
const (
	perLevel     = 8
	maxAncestors = 3 * perLevel
)

var strides = [...]uint64{1, 8, 64}

// ancestors appends to named, which is empty, the ordinals that the commit of
// ordinal n names, newest first. The first is n-1.
func ancestors(named []uint64, n uint64) []uint64 {
	for _, stride := range strides {
		m := (n - 1) / stride * stride
		for range perLevel {
			if m == 0 {
				break
			}
			// A finer level may have named it already.
			if len(named) == 0 || m < named[len(named)-1] {
				named = append(named, m)
			}
			m -= stride
		}
	}
	return named
}

// extend returns the positions that the commit after ordinal n names, newest
// first, given n's own position and the positions that n names.
func extend(n, position uint64, back []uint64) []uint64 {
	var buf1, buf2 [maxAncestors]uint64
	mine := ancestors(buf1[:0], n)
	next := ancestors(buf2[:0], n+1)
	positions := make([]uint64, len(next))
	positions[0] = position
	i := 0
	for j, ordinal := range next[1:] {
		for mine[i] != ordinal {
			i++
		}
		positions[j+1] = back[i]
	}
	return positions
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
