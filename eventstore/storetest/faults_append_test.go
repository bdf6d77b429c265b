package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

var appendFaults = map[string]fault{
	"no events are appended without an error": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if len(a.data) == 0 {
				return eventstore.Revision{}, nil
			}
			return a.do()
		}}.with(),
		[]string{"1 an append of no events is invalid"},
	},
	"an append says the version of its first event": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			at.Version -= min(at.Version, uint64(len(a.data)-1))
			return at, err
		}}.with(),
		[]string{"3 the events of an append stand in the given order"},
	},
	"each event of an append is a commit": {
		faulty{append: func(a appending) (at eventstore.Revision, err error) {
			all := a.data
			for i := range all {
				a.data = all[i : i+1]
				if at, err = a.do(); err != nil {
					return at, err
				}
				a.expected = at
			}
			return at, err
		}}.with(),
		[]string{"3 the events of an append stand in the given order"},
	},
	"the events of an append are turned round": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.data = slices.Clone(a.data)
			slices.Reverse(a.data)
			return a.do()
		}}.with(),
		[]string{"3 the events of an append stand in the given order"},
	},
	"positions stand still": {
		moved(func(at eventstore.Revision, err error) (eventstore.Revision, error) {
			at.Position = min(at.Position, 1)
			return at, err
		}),
		[]string{"4 an append continues the versions"},
	},
	"metadata is dropped": {
		faulty{append: func(a appending) (eventstore.Revision, error) { a.opts.Metadata = nil; return a.do() }}.with(),
		[]string{"6 metadata comes back as it was", "8 an empty correlation and causation"},
	},
	"data is taken for text": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.data = slices.Clone(a.data)
			for i := range a.data {
				a.data[i].Data = bytes.ToValidUTF8(a.data[i].Data, []byte("?"))
			}
			return a.do()
		}}.with(),
		[]string{"7 any bytes come back as they were"},
	},
	"a given time is cut to milliseconds": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.opts.Time = a.opts.Time.Truncate(time.Millisecond)
			return a.do()
		}}.with(),
		[]string{"9 id and time are filled in or kept"},
	},
	"a given id is not kept": {
		faulty{append: func(a appending) (eventstore.Revision, error) { a.opts.CommitID = ""; return a.do() }}.with(),
		[]string{"9 id and time are filled in or kept", "21 a repeated commit is not stored again"},
	},
	"a conflict is not reported": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if errors.Is(err, eventstore.ErrConflict) {
				return a.Head(a.ctx, a.id)
			}
			return at, err
		}}.with(),
		[]string{"11 a wrong version is a conflict", "13 no stream", "14 stream exists", "16 one winner per version"},
	},
	"a conflict is stored": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if errors.Is(err, eventstore.ErrConflict) {
				_, _ = a.anywhere()
			}
			return at, err
		}}.with(),
		[]string{"11 a wrong version is a conflict", "16 one winner per version", "20 a conflict leaves nothing behind"},
	},
	"a conflict leaves a position behind": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if errors.Is(err, eventstore.ErrConflict) {
				a.id.ID += "?"
				_, _ = a.anywhere()
			}
			return at, err
		}}.with(),
		[]string{"20 a conflict leaves nothing behind"},
	},
	"a conflict has another type": {
		moved(func(at eventstore.Revision, err error) (eventstore.Revision, error) {
			if errors.Is(err, eventstore.ErrConflict) {
				err = fmt.Errorf("%w: %s", eventstore.ErrConflict, err.Error())
			}
			return at, err
		}),
		[]string{"11 a wrong version is a conflict"},
	},
	"a conflict does not say the version": {
		moved(func(at eventstore.Revision, err error) (eventstore.Revision, error) {
			if conflict := new(eventstore.ConflictError); errors.As(err, &conflict) {
				conflict.Actual = 0
			}
			return at, err
		}),
		[]string{"11 a wrong version is a conflict"},
	},
	"a version above the head is taken": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if v, ok := a.expected.(eventstore.Version); ok {
				if head, err := a.Head(a.ctx, a.id); err == nil && uint64(v) > head.Version {
					a.expected = head
				}
			}
			return a.do()
		}}.with(),
		[]string{"12 a version above the head is a conflict"},
	},
	"a version is compared before the append": {
		faulty{append: comparedBefore}.with(),
		[]string{"16 one winner per version", "19 a guarded append sees every unguarded one"},
	},
	"an append at any version is tried once": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if a.expected == eventstore.Any {
				head, err := a.Head(a.ctx, a.id)
				if err != nil {
					return head, err
				}
				meanwhile()
				a.expected = head
			}
			return a.do()
		}}.with(),
		[]string{"17 appends at any version all succeed", "17 appends at any version that run out of time"},
	},
	"a repeated commit is stored again": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if at.Replayed {
				return a.anywhere()
			}
			return at, err
		}}.with(),
		[]string{"21 a repeated commit is not stored again", "21 a repeated commit after others", "21 22 a commit repeated by many at once is stored once"},
	},
	"a repeated commit is a conflict": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if at.Replayed {
				return eventstore.Revision{}, &eventstore.ConflictError{Stream: a.id, Expected: a.expected, Actual: at.Version}
			}
			return at, err
		}}.with(),
		[]string{"21 a repeated commit is not stored again", "21 22 a commit repeated by many at once is stored once"},
	},
	"a repeated commit is not marked": {
		moved(func(at eventstore.Revision, err error) (eventstore.Revision, error) {
			at.Replayed = false
			return at, err
		}),
		[]string{"21 a repeated commit is not stored again"},
	},
	"a repeated commit answers with the head": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if at.Replayed {
				at, err = a.Head(a.ctx, a.id)
				at.Replayed = true
			}
			return at, err
		}}.with(),
		[]string{"21 a repeated commit after others"},
	},
	"a commit id is taken again for other events": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			at, err := a.do()
			if errors.Is(err, eventstore.ErrCommitIDReused) {
				return a.anywhere()
			}
			return at, err
		}}.with(),
		[]string{"23 a commit id with other events is refused"},
	},
	"commit ids are those of all streams": {idsOfAllStreams, []string{"24 the same commit id on another stream is another commit"}},
	"equal events of a commit are one": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.data = slices.CompactFunc(slices.Clone(a.data), func(a, b eventstore.EventData) bool { return bytes.Equal(a.Data, b.Data) })
			return a.do()
		}}.with(),
		[]string{"25 the same event twice in a commit is two events"},
	},
	"a large commit is cut off": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.data = a.data[:min(len(a.data), 1000)]
			return a.do()
		}}.with(),
		[]string{"29 a commit of 1,001 events", "29 a commit of very many events is stored whole or refused"},
	},
	"a mistake has another type": {
		moved(func(at eventstore.Revision, err error) (eventstore.Revision, error) {
			if errors.Is(err, eventstore.ErrInvalid) {
				err = errors.New(err.Error())
			}
			return at, err
		}),
		[]string{"1 an append of no events is invalid", "32 illegal names are refused"},
	},
	"control characters are removed": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.opts.CommitID = string(bytes.Trim([]byte(a.opts.CommitID), "\x00\n\t"))
			a.id.ID = string(bytes.ReplaceAll([]byte(a.id.ID), []byte("\t"), nil))
			return a.do()
		}}.with(),
		[]string{"32 illegal names are refused"},
	},
	"a context that has ended is not looked at": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			a.ctx = context.WithoutCancel(a.ctx)
			return a.do()
		}}.with(),
		[]string{"34 a context that has ended writes nothing"},
	},
	"a revision is only a version": {
		faulty{append: func(a appending) (eventstore.Revision, error) {
			if at, ok := a.expected.(eventstore.Revision); ok {
				a.expected = eventstore.Version(at.Version)
			}
			return a.do()
		}}.with(),
		[]string{"a revision of another stream is refused"},
	},
}

// comparedBefore is the way to lose updates: look, and then write.
func comparedBefore(a appending) (eventstore.Revision, error) {
	want := uint64(0)
	switch e := a.expected.(type) {
	case eventstore.Existence:
		return a.do()
	case eventstore.Version:
		want = uint64(e)
	case eventstore.Revision:
		want = e.Version
	}
	head, err := a.Head(a.ctx, a.id)
	if err != nil || head.Version != want {
		return eventstore.Revision{}, &eventstore.ConflictError{Stream: a.id, Expected: a.expected, Actual: head.Version}
	}
	meanwhile()
	return a.anywhere()
}

// idsOfAllStreams answers for a commit of another stream.
func idsOfAllStreams(s Store) Store {
	var mu sync.Mutex
	known := make(map[string]eventstore.Revision)
	return faulty{Store: s, append: func(a appending) (eventstore.Revision, error) {
		mu.Lock()
		defer mu.Unlock()
		if at, ok := known[a.opts.CommitID]; ok {
			return at, nil
		}
		at, err := a.do()
		if err == nil && a.opts.CommitID != "" {
			known[a.opts.CommitID] = at
		}
		return at, err
	}}
}
