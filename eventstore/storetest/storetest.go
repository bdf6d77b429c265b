// Package storetest tests that a store does what an [eventstore.Store] does. It
// is for those who wrap one, for example to measure, encrypt or cache, and for
// those who replace it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, log string) storetest.Store {
//			return open(t, log)
//		})
//	}
//
// # What a store does
//
// The documentation of [eventstore.Store] says what each method does, and this
// package tests it, errors with their types and fields included:
//
//   - An append stores all of its events or none, in their order, with the
//     versions that follow the stream's last, and gives back each of them byte
//     for byte, with its commit's id, time and metadata.
//   - Of the appends that expect the same version one is stored, and the others
//     are a conflict. An append after a revision never passes one it did not
//     see. Appends that expect nothing all succeed.
//   - An append that is repeated with its commit id and events is stored once
//     and answers as the first time: after a revision, a version, or no events
//     however late; at any version, or where the stream exists, as long as the
//     commit is among the last [eventstore.Remembered] of its stream.
//   - What cannot be stored is refused, and nothing of it is stored.
//   - A read sees what was acknowledged before it, returns versions without a
//     gap, from and to a version, after a revision, up to a time, backward.
//   - The log has every event once, in the order of positions; following it
//     goes on without a gap or a repetition; the streams are listed once each.
//
// A store need not be limited in size. Positions grow, and here they may have
// gaps. The suite takes the values of [eventstore.Revision] as they come: a
// store that makes its own fills in the exported fields, and may be handed back
// what [eventstore.Event.Revision] says of its events. Of these the position
// names the commit, and Version may be that of any of its events.
//
// It does not test what takes more than a store: crashes, lost connections and
// answers, duplicate windows, damaged logs, and metadata that comes with the
// context.
package storetest

import (
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// Store is what is tested. An [eventstore.Store] is one.
type Store interface {
	Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error)
	Head(ctx context.Context, stream eventstore.StreamID) (eventstore.Revision, error)
	Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error]
	Log(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error]
	Follow(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error]
	Streams(ctx context.Context, kind string, after uint64) iter.Seq2[eventstore.StreamHead, error]
	Position(ctx context.Context) (uint64, error)
}

// Run tests the stores that open returns, and returns when all tests are done.
// It may take a minute; the tests run in parallel, as many as the flag -parallel
// says.
//
// open opens the log of a name, or fails the test that it is given. A log is
// empty when it is opened for the first time in a Run, and each further time
// gives another client of the same log, as other processes would be. The test
// of the first time is the longest that uses the log: what belongs to the log
// can end with it. There are about 20 logs, named with letters and '-'. open is
// called from several goroutines, and each store is used from several.
//
// A test that uses random numbers logs how to have them again: by setting
// HEADWATER_SEED.
func Run(t *testing.T, open func(t *testing.T, log string) Store) {
	t.Run("items", func(t *testing.T) {
		shared := open(t, sharedLog)
		for _, item := range items() {
			t.Run(item.name, func(t *testing.T) {
				t.Parallel()
				item.run(t, suite{open: open, shared: shared, item: item.name})
			})
		}
	})
}

// An item is one requirement on an event store. Where it begins with a number
// it is the one of the list that the tests of package eventstore follow.
type item struct {
	name string
	run  func(*testing.T, suite)
}

func items() []item {
	return slices.Concat(appendItems, expectationItems, concurrencyItems, repetitionItems, limitItems, nameItems,
		interruptionItems, revisionItems, readItems, timeItems, logItems, followItems, streamsItems)
}

// A suite is what an item has to work with. Items share a log, on which each has
// streams of its own; where it looks at more than streams it has its own log.
type suite struct {
	open   func(*testing.T, string) Store
	shared Store
	item   string
}

const sharedLog = "shared"

// client returns another client of the shared log.
func (s suite) client(t *testing.T) Store {
	t.Helper()
	return s.log(t, sharedLog)
}

// log returns a client of the log of a name, which no other item uses.
func (s suite) log(t *testing.T, name string) Store {
	t.Helper()
	store := s.open(t, name)
	if store == nil {
		t.Fatalf("there is no store of the log %s", name)
	}
	return store
}

// stream names a stream that no other item writes to.
func (s suite) stream() eventstore.StreamID {
	return eventstore.StreamID{Kind: "order", ID: s.item}
}
