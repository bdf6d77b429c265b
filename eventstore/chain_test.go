package eventstore

import (
	"slices"
	"testing"
)

// named are the ordinals that the n-th commit names, as the rule says it: the
// last 8 before it, the last 8 multiples of 8, and of 64.
func namedByRule(n uint64) []uint64 {
	var all []uint64
	for _, stride := range []uint64{1, 8, 64} {
		found := 0
		for m := n - 1; m > 0 && found < 8; m-- {
			if m%stride == 0 {
				all = append(all, m)
				found++
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	slices.Reverse(all)
	return all
}

// A writer knows only the last commit, and what it names. From that it must
// name for the next commit exactly what the rule says.
func TestExtendNamesTheAncestors(t *testing.T) {
	t.Parallel()
	const commits = 5000
	random := Seeded(t)
	position := []uint64{0} // by ordinal
	var named []uint64
	for n := uint64(1); n <= commits; n++ {
		ordinals := namedByRule(n)
		if got := ancestors(nil, n); !slices.Equal(got, ordinals) {
			t.Fatalf("commit %d names %d, and the rule says %d", n, got, ordinals)
		}
		want := make([]uint64, len(ordinals))
		for i, o := range ordinals {
			want[i] = position[o]
		}
		if n > 1 {
			named = extend(n-1, position[n-1], named)
		}
		if !slices.Equal(named, want) {
			t.Fatalf("commit %d names the positions %d, and its ancestors are at %d", n, named, want)
		}
		if len(named) > maxAncestors {
			t.Fatalf("commit %d names %d positions", n, len(named))
		}
		gap := uint64(1)
		if random.IntN(2) == 0 {
			gap += random.Uint64N(1 << random.IntN(40))
		}
		position = append(position, position[n-1]+gap)
	}
}

// From any commit one gets to any earlier one in few steps.
func TestNearestLeadsToAnyAncestor(t *testing.T) {
	t.Parallel()
	random := Seeded(t)
	// A commit at the position of its ordinal, so that positions are ordinals.
	at := func(n uint64) *commit { return &commit{ordinal: n, back: ancestors(nil, n)} }
	for range 2000 {
		from := 2 + random.Uint64N(5000)
		to := 1 + random.Uint64N(from-1)
		steps := 0
		for c := at(from); c.ordinal != to; steps++ {
			next := c.nearest(to)
			if next < to || next >= c.ordinal {
				t.Fatalf("from %d on the way to %d the next is %d", c.ordinal, to, next)
			}
			c = at(next)
		}
		if most := int((from-to)/512) + 16; steps > most {
			t.Errorf("from %d to %d takes %d steps", from, to, steps)
		}
	}
}
