package eventstore_test

import (
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/headwater-go/headwater/eventstore"
)

// TestLinearModel checks that the model tells right histories from wrong ones.
func TestLinearModel(t *testing.T) {
	t.Parallel()
	a, b := revisionAt(1, "a"), revisionAt(2, "b")
	zero := eventstore.Revision{}
	for _, test := range []struct {
		name string
		ok   bool
		ops  []porcupine.Operation
	}{
		{"one after another", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, a, "b", 2), wasHead(5, 6, b), wasRead(7, 8, "a", "b"),
		}},
		{"concurrent appends in the other order", true, []porcupine.Operation{
			wasStored(1, 5, eventstore.Any, "b", 2), wasStored(2, 6, eventstore.NoStream, "a", 1), wasRead(7, 8, "a", "b"),
		}},
		{"lost update", false, []porcupine.Operation{
			wasStored(1, 2, eventstore.NoStream, "a", 1), wasStored(3, 5, a, "b", 2), wasStored(4, 6, a, "c", 2),
		}},
		{"lost update at any version", false, []porcupine.Operation{
			wasStored(1, 3, eventstore.Any, "a", 1), wasStored(2, 4, eventstore.Any, "b", 1),
		}},
		{"append after a commit that is not the last", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, revisionAt(1, "x"), "b", 2),
		}},
		{"append to a stream that has events", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, eventstore.NoStream, "b", 2),
		}},
		{"append to a stream that has none", false, []porcupine.Operation{wasStored(1, 2, eventstore.Exists, "a", 1)}},
		{"append at another version", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, eventstore.Version(2), "b", 2),
		}},
		{"stale head after an acknowledgement", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, a, "b", 2), wasHead(5, 6, a),
		}},
		{"stale read after an acknowledgement", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, a, "b", 2), wasRead(5, 6, "a"),
		}},
		{"read during an append, before it", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 6, a, "b", 2), wasRead(4, 5, "a"),
		}},
		{"read that goes back", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 9, a, "b", 2), wasRead(4, 5, "a", "b"), wasRead(6, 7, "a"),
		}},
		{"read of another order", false, []porcupine.Operation{
			wasStored(1, 4, eventstore.Any, "a", 1), wasStored(2, 5, eventstore.Any, "b", 2), wasRead(6, 7, "b", "a"),
		}},
		{"append that took effect twice", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasRead(3, 4, "a", "a"),
		}},
		{"append of unknown outcome that took effect twice", false, []porcupine.Operation{
			wasUnknown(1, zero, "a"), wasRead(3, 4, "a", "a"),
		}},
		{"conflict", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasRefused(3, 4, zero, 1), wasRefused(3, 4, eventstore.Version(2), 1), wasRefused(3, 4, eventstore.NoStream, 1),
		}},
		{"conflict without reason", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasRefused(3, 4, a, 1),
		}},
		{"conflict with an old version", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasStored(3, 4, a, "b", 2), wasRefused(5, 6, eventstore.Version(4), 1),
		}},
		{"conflict at any version", false, []porcupine.Operation{wasRefused(1, 2, eventstore.Any, 0)}},
		{"conflict of an append that is stored", false, []porcupine.Operation{wasRefused(1, 2, a, 0), wasRead(3, 4, "b")}},
		{"unknown, and took effect late", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasUnknown(3, a, "b"), wasRead(5, 6, "a"), wasRead(7, 8, "a", "b"), wasLast(9, 10, "a", "b"),
		}},
		{"unknown, and never took effect", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasUnknown(3, a, "x"), wasRead(5, 6, "a"), wasLast(9, 10, "a"),
		}},
		{"unknown, and overtaken", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasUnknown(3, a, "x"), wasStored(4, 5, a, "b", 2), wasRead(6, 7, "a", "b"), wasLast(9, 10, "a", "b"),
		}},
		{"unknown, and took effect past its guard", false, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasUnknown(3, a, "x"), wasStored(4, 5, a, "b", 2), wasLast(9, 10, "a", "b", "x"),
		}},
		{"unknown, and took effect before its call", false, []porcupine.Operation{
			wasRead(1, 2, "a"), wasUnknown(3, zero, "a"), wasLast(9, 10, "a"),
		}},
		{"unknown, took effect and was gone again", false, []porcupine.Operation{
			wasUnknown(1, zero, "a"), wasRead(2, 3, "a"), wasLast(9, 10),
		}},
		{"repeated", true, []porcupine.Operation{
			wasStored(1, 2, zero, "a", 1), wasRepeated(3, 4, "a", 1), wasLast(9, 10, "a"),
		}},
		{"repeated before it was there", false, []porcupine.Operation{
			wasRepeated(1, 2, "a", 1), wasStored(3, 4, zero, "a", 1),
		}},
	} {
		want := map[bool]porcupine.CheckResult{true: porcupine.Ok, false: porcupine.Illegal}[test.ok]
		for _, model := range []porcupine.Model{strict, loose} {
			if result, text := check(model, test.ops, time.Minute); result != want {
				t.Errorf("%s: %s, want %s\n%s", test.name, result, want, text)
			}
		}
	}
}

// TestLinearModelOfThePast checks what the loose model accepts: reads of what
// was, not of what never was, and no effects of them.
func TestLinearModelOfThePast(t *testing.T) {
	t.Parallel()
	a, b, zero := revisionAt(1, "a"), revisionAt(2, "b"), eventstore.Revision{}
	before := []porcupine.Operation{wasStored(1, 2, zero, "a", 1), wasStored(3, 4, a, "b", 2)}
	for _, test := range []struct {
		name string
		ok   bool
		op   porcupine.Operation
	}{
		{"head", true, wasHead(5, 6, a)},
		{"head of no events", true, wasHead(5, 6, zero)},
		{"head of another commit", false, wasHead(5, 6, revisionAt(1, "x"))},
		{"head of the future", false, wasHead(5, 6, revisionAt(3, "c"))},
		{"read", true, wasRead(5, 6, "a")},
		{"read with a gap", false, wasRead(5, 6, "b")},
		{"conflict", true, wasRefused(5, 6, eventstore.Version(2), 1)},
		{"conflict that never was", false, wasRefused(5, 6, eventstore.Version(3), 3)},
		{"append", false, wasStored(5, 6, a, "c", 2)},
	} {
		test.op.Input = ofThePast(test.op.Input.(operation))
		history := append(slices.Clone(before), test.op, wasHead(7, 8, b))
		result, text := check(loose, history, time.Minute)
		if (result == porcupine.Ok) != test.ok {
			t.Errorf("%s: %s\n%s", test.name, result, text)
		}
		if result, _ := check(strict, history, time.Minute); result != porcupine.Illegal {
			t.Errorf("%s: %s in the strict model", test.name, result)
		}
	}
}

func ofThePast(op operation) operation {
	op.past = true
	return op
}

func revisionAt(version uint64, id string) eventstore.Revision {
	return eventstore.Revision{Version: version, CommitID: id}
}

func wasStored(from, to int64, expected eventstore.Expectation, id string, version uint64) porcupine.Operation {
	return porcupine.Operation{
		Input: operation{expected: expected, id: id, events: 1}, Output: result{place: place{version, id}}, Call: from, Return: to,
	}
}

func wasRefused(from, to int64, expected eventstore.Expectation, actual uint64) porcupine.Operation {
	return porcupine.Operation{
		Input: operation{expected: expected, events: 1}, Output: result{verdict: conflicted, place: place{version: actual}}, Call: from, Return: to,
	}
}

func wasUnknown(from int64, expected eventstore.Expectation, id string) porcupine.Operation {
	return porcupine.Operation{
		Input: operation{expected: expected, id: id, events: 1}, Output: result{verdict: unknown}, Call: from, Return: forever,
	}
}

func wasRepeated(from, to int64, id string, version uint64) porcupine.Operation {
	return porcupine.Operation{
		Input: operation{action: doRepeat, id: id, events: 1}, Output: result{place: place{version, id}}, Call: from, Return: to,
	}
}

func wasHead(from, to int64, r eventstore.Revision) porcupine.Operation {
	return porcupine.Operation{Input: operation{action: doHead}, Output: result{place: placeOf(r)}, Call: from, Return: to}
}

func wasRead(from, to int64, ids ...string) porcupine.Operation {
	var got result
	for _, id := range ids {
		got.place = place{got.place.version + 1, id}
		got.chain = got.chain.add(id, 1)
	}
	return porcupine.Operation{Input: operation{action: doRead}, Output: got, Call: from, Return: to}
}

func wasLast(from, to int64, ids ...string) porcupine.Operation {
	op := wasRead(from, to, ids...)
	op.Input = operation{action: doClose}
	return op
}
