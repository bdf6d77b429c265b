package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var readFaults = map[string]fault{
	"versions begin with 0": {
		changed(func(e *eventstore.Event) { e.Version-- }),
		[]string{"2 the first event has version 1 and a position", "37 a read returns all events in the order of versions"},
	},
	"content types are dropped": {
		changed(func(e *eventstore.Event) { e.ContentType = "" }),
		[]string{"5 an event without data"},
	},
	"types are in lower case": {
		changed(func(e *eventstore.Event) { e.Type = strings.ToLower(e.Type) }),
		[]string{"33 no type and no metadata forges a header"},
	},
	"times are local": {
		changed(func(e *eventstore.Event) { e.Time = e.Time.In(time.FixedZone("local", 60)) }),
		[]string{"9 id and time are filled in or kept"},
	},
	"an unknown stream is an error": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			return func(yield func(eventstore.Event, error) bool) {
				n := 0
				for e, err := range s.Read(ctx, id, &opts) {
					if n++; !yield(e, err) {
						return
					}
				}
				if n == 0 {
					yield(eventstore.Event{}, errors.New("not found"))
				}
			}
		}}.with(),
		[]string{"36 an unknown stream has no events", "42 beyond the end there is nothing"},
	},
	"a read ends early": {
		misread(func(opts *eventstore.ReadOptions) {
			if opts.To == 0 {
				opts.To = 9
			}
		}),
		[]string{"4 an append continues the versions", "37 a read returns all events in the order of versions"},
	},
	"From is exclusive": {
		misread(func(opts *eventstore.ReadOptions) {
			if opts.From > 0 {
				opts.From++
			}
		}),
		[]string{"38 from a version, inclusive"},
	},
	"To is exclusive": {
		misread(func(opts *eventstore.ReadOptions) {
			if opts.To > 1 {
				opts.To--
			}
		}),
		[]string{"39 to a version, inclusive"},
	},
	"Until is a filter": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			until := opts.Until
			opts.Until = time.Time{}
			return each(s.Read(ctx, id, &opts), func(e eventstore.Event) []eventstore.Event {
				if !until.IsZero() && e.Time.After(until) {
					return nil
				}
				return []eventstore.Event{e}
			})
		}}.with(),
		[]string{"40 up to a time"},
	},
	"Until is exclusive": {
		misread(func(opts *eventstore.ReadOptions) {
			if !opts.Until.IsZero() {
				opts.Until = opts.Until.Add(-1)
			}
		}),
		[]string{"40 up to a time"},
	},
	"UntilRecorded is passed over": {
		misread(func(opts *eventstore.ReadOptions) { opts.UntilRecorded = time.Time{} }),
		[]string{"40 up to a recorded time"},
	},
	"a read cannot be left": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			return func(yield func(eventstore.Event, error) bool) {
				s.Read(ctx, id, &opts)(func(e eventstore.Event, err error) bool { yield(e, err); return true })
			}
		}}.with(),
		[]string{"41 a limited read"},
	},
	"a read can be iterated once": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			all, read := s.Read(ctx, id, &opts), false
			return func(yield func(eventstore.Event, error) bool) {
				if !read {
					read = true
					all(yield)
				}
			}
		}}.with(),
		[]string{"37 a read returns all events in the order of versions"},
	},
	"beyond the end is the last event": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			if head, err := s.Head(ctx, id); err == nil {
				opts.From = min(opts.From, head.Version)
			}
			return s.Read(ctx, id, &opts)
		}}.with(),
		[]string{"42 beyond the end there is nothing"},
	},
	"Backward is passed over": {
		misread(func(opts *eventstore.ReadOptions) { opts.Backward = false }),
		[]string{"43 backward, with limit and bounds", "44 the last event, and the last of a type", "40 up to a time"},
	},
	"backward the commits are turned round, and not their events": {
		faulty{read: func(s Store, ctx context.Context, id eventstore.StreamID, opts eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
			backward := opts.Backward
			opts.Backward = false
			if !backward {
				return s.Read(ctx, id, &opts)
			}
			return func(yield func(eventstore.Event, error) bool) {
				all, _ := collect(s.Read(ctx, id, &opts))
				slices.SortStableFunc(all, func(a, b eventstore.Event) int { return int(b.Position) - int(a.Position) })
				for _, e := range all {
					if !yield(e, nil) {
						return
					}
				}
			}
		}}.with(),
		[]string{"43 backward, with limit and bounds"},
	},
	"After is passed over": {
		misread(func(opts *eventstore.ReadOptions) { opts.After = eventstore.Revision{} }),
		[]string{"a long stream, from and to any version", "42 beyond the end there is nothing"},
	},
	"After is a version": {
		misread(func(opts *eventstore.ReadOptions) {
			if opts.After.Version > 0 {
				opts.From, opts.After = opts.After.Version+1, eventstore.Revision{}
			}
		}),
		[]string{"a revision of another stream is refused", "a revision of another log is refused"},
	},
	"a stream is all whose names begin like it": {
		aliased(func(id eventstore.StreamID) eventstore.StreamID {
			if before, _, ok := strings.Cut(id.ID, "."); ok && before != "" {
				id.ID = before
			}
			return id
		}),
		[]string{"45 streams with a common prefix do not mix", "32 other names are escaped and come back"},
	},
	"the case of ids is passed over": {
		aliased(func(id eventstore.StreamID) eventstore.StreamID { id.ID = strings.ToLower(id.ID); return id }),
		[]string{"45 streams with a common prefix do not mix", "32 other names are escaped and come back"},
	},
	"kinds are passed over": {
		aliased(func(id eventstore.StreamID) eventstore.StreamID { id.Kind = "any"; return id }),
		[]string{"24 the same commit id on another stream is another commit"},
	},
	"a read changes while others append": {
		changed(func(e *eventstore.Event) { e.CommitID = fmt.Sprint(e.CommitID, time.Now()) }),
		[]string{"46 a read is stable while others append"},
	},
	"a client reads what it has read before": {cached, []string{"56 a read sees what was acknowledged before"}},
}

// cached is a client that asks for the head of a stream once.
func cached(s Store) Store {
	var known sync.Map
	return faulty{Store: s, head: func(s Store, ctx context.Context, id eventstore.StreamID) (eventstore.Revision, error) {
		if at, ok := known.Load(id); ok {
			return at.(eventstore.Revision), nil
		}
		at, err := s.Head(ctx, id)
		known.Store(id, at)
		return at, err
	}}
}
