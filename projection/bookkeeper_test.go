package projection_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// A bookkeeper follows the journal of a shelf, and checks after every transaction what
// must always hold: each stream's events are there once, in their order and in whole
// commits, no checkpoint is after a commit that is neither there nor parked, and none
// before one that is there.
type bookkeeper struct {
	*testing.T
	store *eventstore.Store
	read  uint64 // position up to which the log is known

	streams     map[eventstore.StreamID][]chronicled
	records     map[string][]byte
	generations map[uint64]map[eventstore.StreamID]*tally
	live        uint64
	once        map[string]uint64 // the generation that handled an event for the first time, not replayed
	postings    int
	latest      []posting // transactions, to be shown if something is wrong
	found       map[string]int
}

// logged is a commit of the log. Events with handlers are numbered, in each stream from
// 1 on.
type chronicled struct {
	position    uint64
	first, last int // numbers; first > last: it has none
}

// tally is what a generation has of a stream.
type tally struct {
	next int // index of the commit that is not handled yet
	in   int // events of it that are
	left map[int]bool
}

// These are the records of a projection, as far as they matter.
type (
	masterRecord struct {
		Live     uint64
		Consumer string
	}
	generationRecord struct {
		Workers        int
		Building, Kept bool
	}
	checkpointRecord struct {
		Position uint64
		Retired  bool
	}
	parkedRecord struct{ Position, Last, Waiting uint64 }
)

func newBookkeeper(t *testing.T) *bookkeeper {
	return &bookkeeper{
		T: t, streams: map[eventstore.StreamID][]chronicled{}, records: map[string][]byte{},
		generations: map[uint64]map[eventstore.StreamID]*tally{}, once: map[string]uint64{}, found: map[string]int{},
	}
}

// learn reads what is new in the log.
func (b *bookkeeper) learn() {
	b.Helper()
	for e, err := range b.store.Log(b.Context(), b.read, nil) {
		if err != nil {
			b.Fatal(err)
		}
		all := b.streams[e.Stream]
		if len(all) == 0 || all[len(all)-1].position != e.Position {
			first := 1
			if len(all) > 0 {
				first = all[len(all)-1].last + 1
			}
			all = append(all, chronicled{e.Position, first, first - 1})
		}
		if handled(e) {
			all[len(all)-1].last++
		}
		b.streams[e.Stream], b.read = all, e.Position
	}
}

// handled reports whether there is a handler of an event.
func handled(e eventstore.Event) bool {
	return (e.Stream.Kind == "account" || e.Stream.Kind == "till") && e.Type == deposited{}.EventType()
}

func record[V any](b *bookkeeper, key string) (v V, ok bool) {
	b.Helper()
	raw, ok := b.records[key]
	if ok {
		if err := json.Unmarshal(raw, &v); err != nil {
			b.Fatal(err)
		}
	}
	return v, ok
}

func (b *bookkeeper) checkpoints(g uint64) []checkpointRecord {
	of, _ := record[generationRecord](b, fmt.Sprintf("generation/%d", g))
	all := make([]checkpointRecord, of.Workers)
	for i := range all {
		var ok bool
		if all[i], ok = record[checkpointRecord](b, fmt.Sprintf("checkpoint/%d/%d", g, i)); !ok {
			b.Fatalf("generation %d has no checkpoint %d", g, i)
		}
	}
	return all
}

func lowestOf(all []checkpointRecord) uint64 {
	return slices.MinFunc(all, func(a, b checkpointRecord) int { return int(int64(a.Position) - int64(b.Position)) }).Position
}

// of returns the worker of a stream. That is for ever: it is part of what is stored.
func (b *bookkeeper) of(stream eventstore.StreamID, workers int) int {
	h := fnv.New64a()
	fmt.Fprint(h, stream.Kind, "/", stream.ID)
	return int(h.Sum64() % uint64(workers))
}

func (b *bookkeeper) tally(g uint64, stream eventstore.StreamID) *tally {
	if b.generations[g][stream] == nil {
		b.generations[g][stream] = &tally{left: map[int]bool{}}
	}
	return b.generations[g][stream]
}

// follow checks what was entered.
func (b *bookkeeper) follow(all []posting) {
	b.Helper()
	if len(all) > 0 {
		b.learn() // what was posting is in the log
	}
	for _, e := range all {
		b.postings++
		const enough = 25
		b.latest = append(b.latest[max(0, len(b.latest)-enough):], e)
		b.enter(e)
	}
}

// tell says what the last transactions were.
func (b *bookkeeper) tell() {
	b.Helper()
	for _, e := range b.latest {
		var text strings.Builder
		for key, value := range e.records {
			fmt.Fprintf(&text, " %s=%s", key, value)
		}
		for _, l := range e.lines {
			fmt.Fprintf(&text, " %d: %s %d at %d", l.generation, l.stream, l.number, l.position)
		}
		b.Logf("%s:%s; generations made %v, removed %v", e.by, text.String(), e.created, e.dropped)
	}
}

func (b *bookkeeper) enter(e posting) {
	b.Helper()
	defer func() {
		if b.Failed() {
			b.tell()
		}
	}()
	touched := make(map[uint64]bool)
	for _, g := range e.created {
		b.generations[g] = make(map[eventstore.StreamID]*tally)
	}
	was, before := b.live, uint64(0)
	if was != 0 {
		before = lowestOf(b.checkpoints(was))
	}
	parkedBefore := make(map[string]parkedRecord)
	workersBefore := make(map[uint64][]checkpointRecord)
	for key := range e.records {
		parts := strings.Split(key, "/")
		if len(parts) > 1 {
			g, err := strconv.ParseUint(parts[1], 10, 64)
			if err != nil {
				b.Fatalf("record %q", key)
			}
			if touched[g] = true; b.records[fmt.Sprintf("generation/%d", g)] != nil && workersBefore[g] == nil {
				workersBefore[g] = b.checkpoints(g)
			}
		}
		if p, ok := record[parkedRecord](b, key); ok && parts[0] == "parked" {
			parkedBefore[key] = p
		}
	}
	for key, value := range e.records {
		if value == nil {
			delete(b.records, key)
			continue
		}
		b.records[key] = value
	}
	if m, ok := record[masterRecord](b, "projection"); ok {
		b.live = m.Live
	}
	b.discarded(e, parkedBefore)
	for _, l := range e.lines {
		touched[l.generation] = true
		b.line(e, l)
	}
	for _, g := range e.dropped {
		delete(b.generations, g)
		delete(touched, g)
	}
	for g := range touched {
		b.balance(e, g, workersBefore[g])
	}
	if was != 0 && b.live != was && e.by != "show" {
		if now := lowestOf(b.checkpoints(b.live)); now < before {
			b.Errorf("%s: generation %d was at %d, and generation %d, which replaced it, is at %d", e.by, was, before, b.live, now)
		}
	}
}

// discarded leaves out the commit that somebody discarded.
func (b *bookkeeper) discarded(e posting, before map[string]parkedRecord) {
	b.Helper()
	if e.by != "discard" {
		return
	}
	for key, was := range before {
		kind, id, _ := strings.Cut(strings.TrimPrefix(key, fmt.Sprintf("parked/%d/", b.live)), "/")
		stream := eventstore.StreamID{Kind: kind, ID: id}
		if now, ok := record[parkedRecord](b, key); ok && now.Position == was.Position {
			continue
		}
		a := b.tally(b.live, stream)
		if c := b.streams[stream][a.next]; c.position != was.Position {
			b.Fatalf("%s: %s: position %d was discarded, and the next one is %d", e.by, stream, was.Position, c.position)
		}
		for n := b.streams[stream][a.next].first; n <= b.streams[stream][a.next].last; n++ {
			a.left[n] = true
		}
		a.next++
	}
}

// line checks an effect: it is that of the next event of its stream.
func (b *bookkeeper) line(e posting, l line) {
	b.Helper()
	if b.generations[l.generation] == nil {
		b.Fatalf("%s: an effect in generation %d, which is not there", e.by, l.generation)
	}
	if g, _ := record[generationRecord](b, fmt.Sprintf("generation/%d", l.generation)); l.generation != b.live && !g.Building {
		b.Errorf("%s: an effect in generation %d, which was replaced: %+v", e.by, l.generation, l)
	}
	if l.number == 0 {
		b.generations[l.generation][l.stream] = &tally{left: map[int]bool{}}
		return
	}
	a, commits := b.tally(l.generation, l.stream), b.streams[l.stream]
	for a.next < len(commits) && commits[a.next].first > commits[a.next].last {
		a.next++
	}
	if a.next == len(commits) {
		b.Fatalf("%s: generation %d, %s: an effect of event %d once more, all %d commits are handled", e.by, l.generation, l.stream, l.number, len(commits))
	}
	c := commits[a.next]
	if l.position != c.position || l.number != c.first+a.in {
		b.Fatalf("%s: generation %d, %s: an effect of event %d at position %d, and the next one is %d at %d", e.by, l.generation, l.stream, l.number, l.position, c.first+a.in, c.position)
	}
	if a.in++; c.first+a.in > c.last {
		a.next, a.in = a.next+1, 0
	}
	b.replayed(e, l)
}

// replayed compares what the handler was told with what is known.
func (b *bookkeeper) replayed(e posting, l line) {
	key := fmt.Sprint(l.stream, " ", l.number)
	first, known := b.once[key]
	switch {
	case !l.replaying && known && first != l.generation:
		if b.found["handled again and not marked as replayed"]++; b.found["handled again and not marked as replayed"] < 4 {
			b.Logf("%s: %+v: generation %d handled it before, and it is not marked as replayed", e.by, l, first)
		}
	case l.replaying && !known && e.by != "rebuild that is not shown":
		if b.found["marked as replayed and never handled"]++; b.found["marked as replayed and never handled"] < 4 {
			b.Logf("%s: %+v: it is marked as replayed, and was never handled", e.by, l)
		}
	case !l.replaying:
		b.once[key] = l.generation
	}
}

// balance checks a generation after a transaction.
func (b *bookkeeper) balance(e posting, g uint64, before []checkpointRecord) {
	b.Helper()
	of, ok := record[generationRecord](b, fmt.Sprintf("generation/%d", g))
	if !ok {
		return
	}
	now := b.checkpoints(g)
	for i := range before {
		if len(before) == len(now) && now[i].Position < before[i].Position {
			b.Errorf("%s: generation %d: checkpoint %d went back from %d to %d", e.by, g, i, before[i].Position, now[i].Position)
		}
	}
	for stream, commits := range b.streams {
		if stream.Kind == "other" {
			continue
		}
		what := fmt.Sprintf("%s: generation %d of %d workers, %s", e.by, g, of.Workers, stream)
		a, at := b.tally(g, stream), now[b.of(stream, of.Workers)].Position
		p, parked := record[parkedRecord](b, fmt.Sprintf("parked/%d/%s", g, stream))
		for a.in == 0 && a.next < len(commits) && commits[a.next].position <= at &&
			commits[a.next].first > commits[a.next].last && !(parked && commits[a.next].position >= p.Position) {
			a.next++ // it has nothing that is handled
		}
		waiting := 0
		for _, c := range commits[a.next:] {
			if c.position > at {
				break
			}
			waiting++
		}
		switch {
		case a.in != 0:
			b.Fatalf("%s: half of the commit at %d is handled", what, commits[a.next].position)
		case a.next > 0 && commits[a.next-1].position > at:
			b.Fatalf("%s: the commit at %d is handled, and the checkpoint is %d", what, commits[a.next-1].position, at)
		case waiting == 0 && parked:
			b.Fatalf("%s: it is parked, %+v, and all is handled up to the checkpoint, which is %d", what, p, at)
		case waiting > 0 && !parked:
			b.Fatalf("%s: the checkpoint, %d, passed %d commits that are not handled, from %d on", what, at, waiting, commits[a.next].position)
		case waiting > 0 && (p.Position != commits[a.next].position || p.Waiting != uint64(waiting) || p.Last != commits[a.next+waiting-1].position):
			b.Fatalf("%s: it is parked, %+v, and %d commits wait from %d to %d", what, p, waiting, commits[a.next].position, commits[a.next+waiting-1].position)
		}
	}
}

// waits returns the streams that are parked in the live generation.
func (b *bookkeeper) waits() (all []eventstore.StreamID) {
	for stream := range b.streams {
		if b.records[fmt.Sprintf("parked/%d/%s", b.live, stream)] != nil {
			all = append(all, stream)
		}
	}
	slices.SortFunc(all, func(a, b eventstore.StreamID) int { return strings.Compare(a.String(), b.String()) })
	return all
}
