package storetest

import (
	"errors"
	"maps"
	"sync/atomic"

	"github.com/headwater-go/headwater/eventstore"
)

// limitFaults are of stores that can do less.
var limitFaults = map[string]fault{
	"a version is not known": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if v, ok := a.expected.(eventstore.Version); ok && v > 0 {
				return eventstore.Revision{}, &eventstore.ConflictError{Stream: a.id, Expected: v}
			}
			return a.do()
		}}.with(),
		[]string{"10 the exact version"},
	},
	"an append at any version needs a stream": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if a.expected == eventstore.Any {
				a.expected = eventstore.Exists
			}
			return a.do()
		}}.with(),
		[]string{"15 any version"},
	},
	"an append expects that nothing happened in the log": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if at, ok := a.expected.(eventstore.Revision); ok && at.Version > 0 {
				meanwhile()
				if last, err := a.Position(a.ctx); err != nil || last != at.Position {
					return eventstore.Revision{}, &eventstore.ConflictError{Stream: a.id, Expected: at, Actual: at.Version}
				}
			}
			return a.do()
		}}.with(),
		[]string{"18 appends to different streams all succeed"},
	},
	"what does not fit is left out": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			size := 0
			for i, e := range a.data {
				if size += len(e.Data); size > 1<<20 {
					a.data = a.data[:i]
					break
				}
			}
			return a.do()
		}}.with(),
		[]string{"30 a very large commit is stored whole or refused"},
	},
	"metadata that does not fit is left out": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.opts.Metadata = maps.Clone(a.opts.Metadata)
			maps.DeleteFunc(a.opts.Metadata, func(_, value string) bool { return len(value) > 1<<20 })
			return a.do()
		}}.with(),
		[]string{"30 a very large commit is stored whole or refused"},
	},
	"what is too large has another error": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if len(a.data) > 20_000 || len(a.opts.Metadata["long"]) > 1<<20 {
				return eventstore.Revision{}, errors.New("too large")
			}
			return a.do()
		}}.with(),
		[]string{"29 a commit of very many events is stored whole or refused", "30 a very large commit is stored whole or refused"},
	},
	"large appends are never over": {leaking, []string{"31 many appends of several events at once"}},
	"the log has no large data": {
		changedInLog(func(e *eventstore.Event) {
			if len(e.Data) > 1<<19 {
				e.Data = nil
			}
		}),
		[]string{"47 the log has large commits"},
	},
}

// leaking refuses large appends when it counts too many.
func leaking(s Store) Store {
	var large atomic.Int64
	return faulty{Store: s, append: func(a appending) (eventstore.Revision, error) {
		if len(a.data) >= 10 && large.Add(1) > 50 {
			return eventstore.Revision{}, errors.New("too many large appends")
		}
		return a.do()
	}}
}
