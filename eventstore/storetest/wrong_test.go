package storetest

import (
	"context"
	"iter"
	"runtime"

	"github.com/headwater-go/headwater/eventstore"
)

// A fault is a wrong store, and the items that must find it.
type fault struct {
	wrap  func(Store) Store
	items []string
}

// faults are of appends, of what a store can do, of reads, and of the log.
var faults = merge(appendFaults, limitFaults, readFaults, logFaults)

func merge(all ...map[string]fault) map[string]fault {
	merged := make(map[string]fault)
	for _, some := range all {
		for name, f := range some {
			merged[name] = f
		}
	}
	return merged
}

// An appending is an append to a store, whose parts a fault may change.
type appending struct {
	Store
	ctx      context.Context
	id       eventstore.StreamID
	expected eventstore.Expectation
	data     []eventstore.EventData
	opts     eventstore.AppendOptions
}

func (a appending) do() (eventstore.Revision, error) {
	return a.Append(a.ctx, a.id, a.expected, a.data, &a.opts)
}

// anywhere appends at any version, as a commit with a new id.
func (a appending) anywhere() (eventstore.Revision, error) {
	a.expected, a.opts.CommitID = eventstore.Any, ""
	return a.do()
}

// faulty is a store of which one method was replaced.
type faulty struct {
	Store
	append  func(appending) (eventstore.Revision, error)
	head    func(Store, context.Context, eventstore.StreamID) (eventstore.Revision, error)
	read    func(Store, context.Context, eventstore.StreamID, eventstore.ReadOptions) iter.Seq2[eventstore.Event, error]
	log     func(Store, context.Context, uint64, eventstore.LogOptions) iter.Seq2[eventstore.Event, error]
	follow  func(Store, context.Context, uint64, eventstore.LogOptions) iter.Seq2[eventstore.Event, error]
	streams func(Store, context.Context, string, uint64) iter.Seq2[eventstore.StreamHead, error]
}

// with returns what makes a store faulty.
func (f faulty) with() func(Store) Store {
	return func(s Store) Store {
		f.Store = s
		return f
	}
}

func (f faulty) Append(ctx context.Context, id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	if f.append == nil {
		return f.Store.Append(ctx, id, expected, data, opts)
	}
	a := appending{Store: f.Store, ctx: ctx, id: id, expected: expected, data: data}
	if opts != nil {
		a.opts = *opts
	}
	return f.append(a)
}

func (f faulty) Head(ctx context.Context, id eventstore.StreamID) (eventstore.Revision, error) {
	if f.head == nil {
		return f.Store.Head(ctx, id)
	}
	return f.head(f.Store, ctx, id)
}

func (f faulty) Read(ctx context.Context, id eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	if f.read == nil {
		return f.Store.Read(ctx, id, opts)
	}
	if opts == nil {
		opts = &eventstore.ReadOptions{}
	}
	return f.read(f.Store, ctx, id, *opts)
}

func (f faulty) Log(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	if f.log == nil {
		return f.Store.Log(ctx, after, opts)
	}
	if opts == nil {
		opts = &eventstore.LogOptions{}
	}
	return f.log(f.Store, ctx, after, *opts)
}

func (f faulty) Follow(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	if f.follow == nil {
		return f.Store.Follow(ctx, after, opts)
	}
	if opts == nil {
		opts = &eventstore.LogOptions{}
	}
	return f.follow(f.Store, ctx, after, *opts)
}

func (f faulty) Streams(ctx context.Context, kind string, after uint64) iter.Seq2[eventstore.StreamHead, error] {
	if f.streams == nil {
		return f.Store.Streams(ctx, kind, after)
	}
	return f.streams(f.Store, ctx, kind, after)
}

// each yields what f makes of each event: any number of events.
func each(events iter.Seq2[eventstore.Event, error], f func(eventstore.Event) []eventstore.Event) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		for e, err := range events {
			if err != nil {
				yield(e, err)
				return
			}
			for _, e := range f(e) {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// changed is a fault of what is read: of each event.
func changed(f func(*eventstore.Event)) func(Store) Store {
	change := func(e eventstore.Event) []eventstore.Event { f(&e); return []eventstore.Event{e} }
	return faulty{
		read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			return each(s.Read(ctx, id, &opts), change)
		},
	}.with()
}

// changedInLog is a fault of what is read from the log.
func changedInLog(f func(*eventstore.Event)) func(Store) Store {
	return mislogged(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
		return each(read(ctx, after, &opts), func(e eventstore.Event) []eventstore.Event { f(&e); return []eventstore.Event{e} })
	})
}

// misread is a fault of what a read makes of its options.
func misread(f func(*eventstore.ReadOptions)) func(Store) Store {
	return faulty{
		read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			f(&opts)
			return s.Read(ctx, id, &opts)
		},
	}.with()
}

// aliased is a fault that takes some streams for the same.
func aliased(f func(eventstore.StreamID) eventstore.StreamID) func(Store) Store {
	back := func(id eventstore.StreamID) func(e eventstore.Event) []eventstore.Event {
		return func(e eventstore.Event) []eventstore.Event { e.Stream = id; return []eventstore.Event{e} }
	}
	return faulty{
		append: func(a appending) (eventstore.Revision, error) { a.id = f(a.id); return a.do() },
		head: func(s Store, ctx context.Context, id eventstore.StreamID) (eventstore.Revision, error) {
			return s.Head(ctx, f(id))
		},
		read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			return each(s.Read(ctx, f(id), &opts), back(id))
		},
	}.with()
}

// moved is a fault of where an append says that it is, or why it is not.
func moved(f func(eventstore.Revision, error) (eventstore.Revision, error)) func(Store) Store {
	return faulty{append: func(a appending) (eventstore.Revision, error) { return f(a.do()) }}.with()
}

// meanwhile lets other goroutines run.
func meanwhile() {
	for range 20 {
		runtime.Gosched()
	}
}
