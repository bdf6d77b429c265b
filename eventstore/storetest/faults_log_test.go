package storetest

import (
	"context"
	"iter"
	"slices"

	"github.com/headwater-go/headwater/eventstore"
)

// logging is the method Log or Follow of a store.
type logging func(ctx context.Context, after uint64, opts *eventstore.LogOptions) iter.Seq2[eventstore.Event, error]

// mislogged is a fault of Log.
func mislogged(f func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error]) func(Store) Store {
	return faulty{log: func(s Store, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
		return f(s.Log, ctx, after, opts)
	}}.with()
}

// misfollowed is a fault of Follow.
func misfollowed(f func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error]) func(Store) Store {
	return faulty{follow: func(s Store, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
		return f(s.Follow, ctx, after, opts)
	}}.with()
}

// every100th returns what makes something else of every hundredth event.
func every100th(f func(eventstore.Event) []eventstore.Event) func(logging, context.Context, uint64, eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	return func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
		n := 0
		return each(read(ctx, after, &opts), func(e eventstore.Event) []eventstore.Event {
			if n++; n%100 == 0 {
				return f(e)
			}
			return []eventstore.Event{e}
		})
	}
}

func leftOut(eventstore.Event) []eventstore.Event    { return nil }
func repeated(e eventstore.Event) []eventstore.Event { return []eventstore.Event{e, e} }

var logFaults = map[string]fault{
	"the log leaves events out": {mislogged(every100th(leftOut)), []string{"47 the log has every event once, in order"}},
	"the log repeats events":    {mislogged(every100th(repeated)), []string{"47 the log has every event once, in order"}},
	"the log is in the order of streams": {
		mislogged(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			return func(yield func(eventstore.Event, error) bool) {
				all, err := collect(read(ctx, after, &opts))
				slices.SortStableFunc(all, func(a, b eventstore.Event) int { return len(a.Stream.String()) - len(b.Stream.String()) })
				for _, e := range all {
					if !yield(e, nil) {
						return
					}
				}
				if err != nil {
					yield(eventstore.Event{}, err)
				}
			}
		}),
		[]string{"47 the log has every event once, in order"},
	},
	"the log from a position includes it": {
		mislogged(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			return read(ctx, max(after, 1)-1, &opts)
		}),
		[]string{"48 the log from a position"},
	},
	"kinds are not chosen": {
		mislogged(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			opts.Kinds = nil
			return read(ctx, after, &opts)
		}),
		[]string{"50 the log by kind and type", "51 a kind is no stream, and the other way round"},
	},
	"types are not chosen when kinds are": {
		mislogged(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			if opts.Kinds != nil {
				opts.Types = nil
			}
			return read(ctx, after, &opts)
		}),
		[]string{"50 the log by kind and type"},
	},
	"following, kinds are not chosen": {
		misfollowed(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			opts.Kinds = nil
			return read(ctx, after, &opts)
		}),
		[]string{"50 the log by kind and type", "51 a kind is no stream, and the other way round"},
	},
	"the log ends silently with its context": {
		mislogged(silent),
		[]string{"53 a context that ends ends the reading and the waiting"},
	},
	"following ends silently with its context": {
		misfollowed(silent),
		[]string{"53 a context that ends ends the reading and the waiting"},
	},
	"following from now begins with the last commit": {
		misfollowed(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			return read(ctx, max(after, 1)-1, &opts)
		}),
		[]string{"57 following from the start, from a position, from now on"},
	},
	"following always begins at the start": {
		misfollowed(func(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			return read(ctx, 0, &opts)
		}),
		[]string{"57 following from the start, from a position, from now on"},
	},
	"following ends when all is read": {
		faulty{follow: func(s Store, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
			return s.Log(ctx, after, &opts)
		}}.with(),
		[]string{"57 following from the start, from a position, from now on"},
	},
	"following leaves events out": {misfollowed(every100th(leftOut)), []string{"58 following is reading on without gap or repetition"}},
	"following repeats events":    {misfollowed(every100th(repeated)), []string{"58 following is reading on without gap or repetition"}},
	"streams are listed twice": {
		faulty{streams: func(s Store, ctx context.Context, kind string, after uint64) iter.Seq2[eventstore.StreamHead, error] {
			return func(yield func(eventstore.StreamHead, error) bool) {
				for h, err := range s.Streams(ctx, kind, after) {
					if !yield(h, err) || err == nil && len(h.Stream.ID) == 2 && !yield(h, nil) {
						return
					}
				}
			}
		}}.with(),
		[]string{"the streams and where they stand"},
	},
	"streams of all kinds are listed": {
		faulty{streams: func(s Store, ctx context.Context, _ string, after uint64) iter.Seq2[eventstore.StreamHead, error] {
			return s.Streams(ctx, "", after)
		}}.with(),
		[]string{"the streams and where they stand"},
	},
	"streams have no pages": {
		faulty{streams: func(s Store, ctx context.Context, kind string, _ uint64) iter.Seq2[eventstore.StreamHead, error] {
			return s.Streams(ctx, kind, 0)
		}}.with(),
		[]string{"the streams page by page"},
	},
}

// silent is a log that ends as if all were read.
func silent(read logging, ctx context.Context, after uint64, opts eventstore.LogOptions) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		for e, err := range read(ctx, after, &opts) {
			if err != nil && ctx.Err() != nil || !yield(e, err) {
				return
			}
		}
	}
}
