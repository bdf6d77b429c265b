package eventstore_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/headwater-go/headwater/eventstore"
)

// A model of one stream says what its operations answer if they happen one
// after another. A history of many streams is checked stream by stream.
//
// There are two. In the strict one every answer is of the present. In the other
// one what is read may be of the past where an operation is marked so; what is
// stored is stored by the same rules.
var (
	strict = newModel(false)
	loose  = newModel(true)
)

func newModel(past bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return modelState{} },
		Step: func(s, in, out any) (bool, any) {
			op := in.(operation)
			op.past = op.past && past
			return s.(modelState).step(op, out.(result))
		},
		Equal: func(a, b any) bool {
			x, y := a.(modelState), b.(modelState)
			return x.place == y.place && x.chain == y.chain && x.closed == y.closed
		},
		DescribeOperation: func(in, out any) string { return in.(operation).String() + " → " + out.(result).String() },
	}
}

// A place is where a stream stands: its version and the id of its last commit.
type place struct {
	version uint64
	id      string
}

func placeOf(r eventstore.Revision) place { return place{r.Version, r.CommitID} }

// modelState is the state of a stream. The chain stands for all its commits.
type modelState struct {
	place
	chain  chain
	before *modelState // one commit earlier
	closed bool        // the last read has been: what is not stored now never was seen
}

// A chain is a hash of the ids and sizes of commits, in their order.
type chain [16]byte

func (c chain) add(id string, events uint64) chain {
	text := append(c[:], id...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(text, events))
	return chain(sum[:len(chain{})])
}

type action int

const (
	doAppend action = iota
	doRepeat        // append what was acknowledged before, once more
	doHead
	doRead
	doClose // read for the last time, after all others have ended
)

// operation is what a client asks.
type operation struct {
	stream   string
	action   action
	expected eventstore.Expectation // of an append
	id       string                 // of its commit, where one is or may be stored
	events   uint64                 // how many it has
	past     bool                   // what it reads may be of the past
}

type verdict int

const (
	answered   verdict = iota
	conflicted         // nothing is stored
	unknown            // it takes effect at any later time, or never
)

// result is what it is told: where the stream stands, after an append where it
// is stored, and after a conflict the version alone.
type result struct {
	verdict verdict
	place   place
	chain   chain // of a read
}

// step says whether an operation could have this result in a state, and what
// the state is then.
func (s modelState) step(op operation, got result) (bool, modelState) {
	switch {
	case op.action == doRepeat:
		return s.version >= got.place.version, s
	case op.action != doAppend || got.verdict == conflicted:
		ok := s.shows(op, got)
		for old := s.before; op.past && old != nil && !ok; old = old.before {
			ok = old.shows(op, got)
		}
		s.closed = s.closed || op.action == doClose
		return ok, s
	case got.verdict == unknown && s.closed:
		return true, s // it has no end, so what never took effect comes last
	}
	allowed, next := s.allows(op.expected), s.append(op)
	return allowed && (got.verdict == unknown || got.place == next.place), next
}

// shows reports whether a state is what an operation saw that changed nothing.
func (s *modelState) shows(op operation, got result) bool {
	switch op.action {
	case doAppend:
		return !s.allows(op.expected) && got.place.version == s.version
	case doHead:
		return got.place == s.place
	}
	return got.place == s.place && got.chain == s.chain
}

func (s modelState) append(op operation) modelState {
	return modelState{place{s.version + op.events, op.id}, s.chain.add(op.id, op.events), &s, s.closed}
}

// allows reports whether an expectation holds.
func (s *modelState) allows(expected eventstore.Expectation) bool {
	switch e := expected.(type) {
	case eventstore.Revision:
		return s.place == placeOf(e)
	case eventstore.Version:
		return s.version == uint64(e)
	}
	switch expected {
	case eventstore.NoStream:
		return s.version == 0
	case eventstore.Exists:
		return s.version > 0
	}
	return true
}

func byStream(all []porcupine.Operation) (parts [][]porcupine.Operation) {
	index := make(map[string]int)
	for _, op := range all {
		name := op.Input.(operation).stream
		i, ok := index[name]
		if !ok {
			i = len(parts)
			index[name] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], op)
	}
	return parts
}

// forever is when operations return whose outcome stayed unknown.
const forever = math.MaxInt64

// check checks the history of a stream. Where it is not linearizable, or that
// could not be found out in time, the text says why.
func check(model porcupine.Model, stream []porcupine.Operation, limit time.Duration) (porcupine.CheckResult, string) {
	r := porcupine.CheckOperationsTimeout(model, stream, limit)
	if r == porcupine.Ok {
		return r, ""
	}
	return r, describe(model, stream)
}

// describe says how far the operations of a stream can be put in an order, and
// what cannot come next. Times are those of call and return, in milliseconds.
func describe(model porcupine.Model, ops []porcupine.Operation) string {
	const shown = 25
	_, info := porcupine.CheckOperationsVerbose(model, ops, time.Minute)
	var order []porcupine.Operation
	for _, partial := range info.PartialLinearizationsOperations()[0] {
		if len(partial) > len(order) {
			order = partial
		}
	}
	left := slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		return slices.ContainsFunc(order, func(o porcupine.Operation) bool {
			return o.Call == op.Call && o.ClientId == op.ClientId && o.Return == op.Return
		})
	})
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d operations in an order, the last of them:\n", len(order), len(ops))
	list(&text, model, order[max(len(order)-shown, 0):])
	text.WriteString("then the first of these cannot come before it returns, in the order of returns:\n")
	slices.SortFunc(left, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	list(&text, model, left[:min(len(left), shown)])
	return text.String()
}

func list(text *strings.Builder, model porcupine.Model, ops []porcupine.Operation) {
	for _, op := range ops {
		end := "…"
		if op.Return != forever {
			end = millis(op.Return)
		}
		fmt.Fprintf(text, "  %s to %s  client %d  %s\n", millis(op.Call), end, op.ClientId, model.DescribeOperation(op.Input, op.Output))
	}
}

func millis(nanos int64) string { return fmt.Sprintf("%.3f", float64(nanos)/1e6) }

func (p place) String() string { return fmt.Sprintf("%d %q", p.version, p.id) }

func (op operation) String() string {
	switch op.action {
	case doHead:
		return "head"
	case doRead:
		return "read"
	case doClose:
		return "last read"
	case doRepeat:
		return fmt.Sprintf("repeat %q", op.id)
	}
	expected := op.expected.String()
	if r, ok := op.expected.(eventstore.Revision); ok {
		expected = placeOf(r).String()
	}
	return fmt.Sprintf("append %q of %d, expecting %s", op.id, op.events, expected)
}

func (r result) String() string {
	switch r.verdict {
	case conflicted:
		return fmt.Sprintf("conflict, at %d", r.place.version)
	case unknown:
		return "unknown"
	}
	text := "at " + r.place.String()
	if r.chain != (chain{}) {
		text += fmt.Sprintf(", chain %x", r.chain[:4])
	}
	return text
}
