package projection

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// troubles are the commits that could not be handled. Each is handled in a
// transaction of its own.
type troubles struct {
	mu  sync.Mutex
	all map[place]trouble
}

type place struct{ generation, position uint64 }

// trouble is how often a commit was tried, 0 if it failed together with others,
// and what the last error was.
type trouble struct {
	attempts int // that count
	tries    int
	err      error
}

// poison reports whether it makes no sense to try again.
func (t trouble) poison(attempts int) bool {
	var permanent *Permanent
	return t.attempts >= attempts || errors.As(t.err, &permanent)
}

func (t *troubles) get(generation, position uint64) trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[place{generation, position}]
}

// suspect notes that a commit failed together with others.
func (t *troubles) suspect(generation, position uint64) {
	t.note(place{generation, position}, func(*trouble) {})
}

// failed notes that a commit failed.
func (t *troubles) failed(generation, position uint64, err error) trouble {
	return t.note(place{generation, position}, func(t *trouble) {
		t.tries, t.err = t.tries+1, err
		if !transient(err) {
			t.attempts++
		}
	})
}

func (t *troubles) note(at place, f func(*trouble)) trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[place]trouble)
	}
	one := t.all[at]
	f(&one)
	t.all[at] = one
	return one
}

// transient reports whether an error is about something that is away.
func transient(err error) bool {
	var t *Transient
	return errors.As(err, &t) || errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrUnknownOutcome)
}

// over notes that commits are handled.
func (t *troubles) over(generation uint64, batch ...eventstore.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return
	}
	for _, d := range batch {
		delete(t.all, place{generation, d.Position})
	}
}

// cut returns the commits of a batch that are to be handled together.
func (t *troubles) cut(generation uint64, batch []eventstore.Delivery) []eventstore.Delivery {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) == 0 {
		return batch
	}
	for i, d := range batch {
		if _, ok := t.all[place{generation, d.Position}]; ok {
			return batch[:max(i, 1)]
		}
	}
	return batch
}

// pause waits before the next attempt, longer each time, and not as long as
// others do who met the same trouble.
func pause(ctx context.Context, attempt int) {
	const first, longest = 20 * time.Millisecond, 5 * time.Second
	d := min(first<<min(attempt-1, 16), longest)
	select {
	case <-time.After(d/2 + rand.N(d)):
	case <-ctx.Done():
	}
}

// reason is an error's text for a record, of a length that fits one.
func reason(err error) string {
	const most = 4 << 10
	s := strings.ToValidUTF8(err.Error(), "\ufffd")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
