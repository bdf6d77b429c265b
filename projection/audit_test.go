package projection_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// audit checks a vault's journal against the log: transaction by transaction each
// generation has handled the events of each stream once and in order, but for what is
// parked or was discarded, and no checkpoint is after anything else.
type audit struct {
	t         *testing.T
	commits   []logged // by position, from 1
	books     map[uint64]*book
	live      uint64
	discarded int
}

// logged is a commit in the log.
type logged struct {
	stream      eventstore.StreamID
	first, last uint64 // versions
	handled     bool   // it has handlers
}

// book is what a generation has come to.
type book struct {
	next        map[eventstore.StreamID]uint64 // version to handle next
	parked      map[eventstore.StreamID]span
	checkpoints map[string]uint64 // by record
	workers     int
}

type span struct {
	Position uint64 `json:"position"`
	Version  uint64 `json:"version"`
	Last     uint64 `json:"last"`
}

func auditVault(t *testing.T, v *vault, store *eventstore.Store) *audit {
	t.Helper()
	a := &audit{t: t, commits: make([]logged, 1), books: map[uint64]*book{}}
	for e, err := range store.Log(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position == uint64(len(a.commits)) {
			a.commits = append(a.commits, logged{stream: e.Stream, first: e.Version, handled: e.Stream.Kind == "account"})
		}
		a.commits[e.Position].last = e.Version
	}
	for i, tx := range v.journal {
		if err := a.transaction(tx); err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
	return a
}

func (a *audit) book(g uint64) *book {
	if a.books[g] == nil {
		a.books[g] = &book{next: map[eventstore.StreamID]uint64{}, parked: map[eventstore.StreamID]span{}, checkpoints: map[string]uint64{}}
	}
	return a.books[g]
}

func (b *book) expects(stream eventstore.StreamID) uint64 { return max(b.next[stream], 1) }

func (a *audit) transaction(tx transaction) error {
	for key, value := range tx.records {
		if err := a.discards(tx, key, value); err != nil {
			return err
		}
	}
	for _, e := range tx.effects {
		b := a.book(e.generation)
		if want := b.expects(e.stream); e.version != want {
			return fmt.Errorf("generation %d handles version %d of %s, and %d is next", e.generation, e.version, e.stream, want)
		}
		b.next[e.stream] = e.version + 1
	}
	for _, prefix := range []string{"generation/", "parked/", "checkpoint/"} {
		for key, value := range tx.records {
			if rest, ok := strings.CutPrefix(key, prefix); ok {
				if err := a.record(prefix, rest, value); err != nil {
					return err
				}
			}
		}
	}
	if tx.shown > 0 {
		a.live = tx.shown
	}
	if tx.dropped > 0 {
		delete(a.books, tx.dropped)
	}
	return nil
}

// discards notes a commit that was parked and is not any more, though it is not among
// the transaction's effects.
func (a *audit) discards(tx transaction, key string, value []byte) error {
	rest, ok := strings.CutPrefix(key, "parked/")
	if !ok {
		return nil
	}
	g, stream := parkedIn(rest)
	before, was := a.book(g).parked[stream]
	var now span
	if value != nil {
		if err := json.Unmarshal(value, &now); err != nil {
			return err
		}
	}
	if !was || now.Position == before.Position || tx.dropped == g {
		return nil
	}
	for _, e := range tx.effects {
		if e.generation == g && e.stream == stream && e.position == before.Position {
			return nil
		}
	}
	a.discarded++
	a.book(g).next[stream] = a.commits[before.Position].last + 1
	return nil
}

func parkedIn(rest string) (uint64, eventstore.StreamID) {
	f := strings.SplitN(rest, "/", 3)
	g, _ := strconv.ParseUint(f[0], 10, 64)
	return g, eventstore.StreamID{Kind: f[1], ID: f[2]}
}

func (a *audit) record(prefix, rest string, value []byte) error {
	number, _, _ := strings.Cut(rest, "/")
	g, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return err
	}
	b := a.book(g)
	switch {
	case prefix == "generation/" && value != nil:
		var record struct{ Workers int }
		err = json.Unmarshal(value, &record)
		b.workers = record.Workers
	case prefix == "parked/":
		_, stream := parkedIn(rest)
		var p span
		delete(b.parked, stream)
		if value != nil {
			err = json.Unmarshal(value, &p)
			b.parked[stream] = p
		}
	case prefix == "checkpoint/" && value == nil:
		delete(b.checkpoints, rest)
	case prefix == "checkpoint/":
		var p span
		if err = json.Unmarshal(value, &p); err == nil {
			err = a.moved(g, rest, p.Position)
		}
	}
	return err
}

// moved checks what a checkpoint has passed.
func (a *audit) moved(g uint64, rest string, to uint64) error {
	b := a.book(g)
	_, number, _ := strings.Cut(rest, "/")
	worker, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	from := b.checkpoints[rest]
	if to < from {
		return fmt.Errorf("checkpoint %s goes back from %d to %d", rest, from, to)
	}
	b.checkpoints[rest] = to
	for at := from + 1; at <= to; at++ {
		c := a.commits[at]
		if !c.handled || workerOf(c.stream, b.workers) != worker {
			continue
		}
		p, parked := b.parked[c.stream]
		parked = parked && p.Position <= at && at <= p.Last
		if b.expects(c.stream) <= c.last && !parked {
			return fmt.Errorf("checkpoint %s passes position %d, %s versions %d to %d, which is not handled", rest, at, c.stream, c.first, c.last)
		}
	}
	return nil
}

// workerOf returns who handles a stream, as the design says.
func workerOf(stream eventstore.StreamID, workers int) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(stream.String()))
	return int(h.Sum64() % uint64(max(workers, 1)))
}

// complete checks that the live generation has handled everything.
func (a *audit) complete() {
	a.t.Helper()
	b := a.book(a.live)
	for at, c := range a.commits {
		if c.handled && b.expects(c.stream) <= c.last {
			a.t.Errorf("position %d, %s version %d is not handled in generation %d", at, c.stream, c.first, a.live)
		}
	}
	if len(b.parked) > 0 {
		a.t.Errorf("still parked: %v", b.parked)
	}
}
