package eventstore

import (
	"context"
	"errors"
	"hash/maphash"
	"time"
)

// Report is what [Store.Verify] found.
type Report struct {
	Position uint64 // of the last commit that was looked at
	End      uint64 // position of the log's last commit when it began
	Commits  uint64
	Events   uint64
	Streams  uint64
	// Damaged is how many places are not as a writer made them: 0 in a sound
	// log.
	Damaged uint64
	// Damage lists the first 1000 of them, in the order of the log.
	Damage []*CorruptionError
}

const maxDamage = 1000

// VerifyOptions are what Verify tells while it works. Both functions are called
// from the goroutine that called Verify.
type VerifyOptions struct {
	// OnProgress is called about once a second with what was found so far, and
	// at the end with all; the report's list is not to be changed or kept.
	OnProgress func(Report)
	// OnDamage is called for each damage, in the order of the log.
	OnDamage func(*CorruptionError)
}

// Verify reads the whole log up to where it stands now and checks that nothing
// of it is lost, altered, reordered or inserted: positions and versions without
// gaps, each commit's digest over its content and its predecessor, and the
// positions it names. What only repeats other parts of a commit, its source and
// message id, is not compared. It is safe while others append. It keeps less
// than 200 bytes of memory for each stream, whatever the number of events.
//
// Damage is in the report. An error says that the log could not be read to its
// end; the report then covers what was read.
func (s *Store) Verify(ctx context.Context, opts *VerifyOptions) (*Report, error) {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	v := verifier{VerifyOptions: *opts, seed: maphash.MakeSeed(), ends: make(map[uint64]end), told: time.Now()}
	var err error
	if v.End, err = s.Position(ctx); err != nil {
		return &v.Report, err
	}
	err = s.commits(ctx, 0, false, func(c *commit, err error) error {
		defer v.tell(time.Second)
		var damage *CorruptionError
		if errors.As(err, &damage) {
			v.add(damage)
			return nil
		}
		if why := v.check(c); why != "" {
			v.add(&CorruptionError{Log: s.log, Stream: c.stream, Position: c.position, Reason: why})
		}
		return nil
	})
	v.tell(0)
	return &v.Report, err
}

// A verifier checks the commits of a log in their order.
type verifier struct {
	Report
	VerifyOptions
	seed maphash.Seed
	ends map[uint64]end // by a hash of the stream, to hold no names
	told time.Time
}

// end is what is kept of a stream's last commit so far. That the next one names
// the right positions is compared by a hash of them.
type end struct {
	digest            digest
	version, position uint64
	ordinal, names    uint64
}

func (v *verifier) add(damage *CorruptionError) {
	v.Position = max(v.Position, damage.Position)
	v.Damaged++
	if len(v.Damage) < maxDamage {
		v.Damage = append(v.Damage, damage)
	}
	if v.OnDamage != nil {
		v.OnDamage(damage)
	}
}

// tell reports progress if it did not for so long.
func (v *verifier) tell(after time.Duration) {
	if v.OnProgress != nil && time.Since(v.told) >= after {
		v.told = time.Now()
		v.OnProgress(v.Report)
	}
}

// check says why a commit is not right as the one after those before, "" if it
// is.
func (v *verifier) check(c *commit) string {
	v.Position = c.position
	v.Commits++
	v.Events += uint64(len(c.events))
	key := maphash.Comparable(v.seed, c.stream)
	before, known := v.ends[key]
	if !known {
		v.Streams++
	}
	next := extend(c.ordinal, c.position, c.back)
	v.ends[key] = end{c.digest, c.last(), c.position, c.ordinal, v.hash(next)}
	prev := mark{version: before.version, position: before.position, ordinal: before.ordinal, digest: before.digest}
	if why := follows(prev, c); why != "" {
		return why
	}
	if known && before.names != v.hash(c.back) {
		return "it names other commits before it than its predecessor does"
	}
	return ""
}

func (v *verifier) hash(positions []uint64) uint64 {
	var h maphash.Hash
	h.SetSeed(v.seed)
	for _, p := range positions {
		maphash.WriteComparable(&h, p)
	}
	return h.Sum64()
}
