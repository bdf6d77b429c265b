package eventstore

import (
	"context"
	"errors"
)

// Report is what [Store.Verify] found.
type Report struct {
	Position uint64 // of the last commit that was looked at
	Commits  uint64
	Events   uint64
	Streams  uint64
	// Damage lists what is not as a writer made it, in the order of the log,
	// up to 1000 entries. An undamaged log has none.
	Damage []*CorruptionError
}

const maxDamage = 1000

// Verify reads the whole log up to where it stands now and checks that nothing
// of it is lost, altered, reordered or inserted: positions and versions without
// gaps, each commit's digest over its content and its predecessor, and the
// positions it names. What only repeats other parts of a commit, its source and
// message id, is not compared. It is safe while others append. It keeps roughly
// half a kilobyte of memory for each stream.
//
// Damage is in the report. An error says that the log could not be read to its
// end; the report then covers what was read.
func (s *Store) Verify(ctx context.Context) (*Report, error) {
	report := &Report{}
	heads := make(map[StreamID]mark)
	err := s.commits(ctx, 0, false, func(c *commit, err error) error {
		var damage *CorruptionError
		if errors.As(err, &damage) {
			report.add(damage)
			return nil
		}
		report.Position = c.position
		report.Commits++
		report.Events += uint64(len(c.events))
		head := heads[c.stream]
		if why := c.check(head); why != "" {
			report.add(&CorruptionError{Log: s.log, Stream: c.stream, Position: c.position, Reason: why})
		}
		heads[c.stream] = c.mark()
		return nil
	})
	report.Streams = uint64(len(heads))
	return report, err
}

func (r *Report) add(damage *CorruptionError) {
	r.Position = max(r.Position, damage.Position)
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, damage)
	}
}

// check says why a commit is not right as the one after head, "" if it is.
func (c *commit) check(head mark) string {
	if why := follows(head, c); why != "" {
		return why
	}
	if head.ordinal == 0 {
		return ""
	}
	for i, p := range extend(head.ordinal, head.position, head.back) {
		if c.back[i] != p {
			return "it names other commits before it than its predecessor does"
		}
	}
	return ""
}
