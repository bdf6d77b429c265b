package metrics

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/prometheus/client_golang/prometheus"
)

// appends are the figures of appends.
type appends struct {
	duration        *prometheus.HistogramVec
	events, retries *prometheus.CounterVec
	kinds           *names
}

func newAppends() appends {
	return appends{
		duration: histogram("append_duration_seconds", "How long appends took, by what became of them.", "kind", "outcome"),
		events:   counters("append_events_total", "Events that were stored.", "kind"),
		retries:  counters("append_retries_total", "How often commits were sent once more.", "kind"),
		kinds:    &names{known: make(map[string]bool)},
	}
}

func (a appends) all() []prometheus.Collector {
	return []prometheus.Collector{a.duration, a.events, a.retries}
}

// Append counts an append, see [eventstore.Options.OnAppend].
func (m *Metrics) Append(_ context.Context, a eventstore.Appended) {
	kind, outcome := m.appends.kinds.label(a.Stream.Kind), outcomeOf(a)
	m.appends.duration.WithLabelValues(kind, outcome).Observe(a.Took.Seconds())
	if outcome == stored {
		m.appends.events.WithLabelValues(kind).Add(float64(a.Events))
	}
	if a.Attempts > 1 {
		m.appends.retries.WithLabelValues(kind).Add(float64(a.Attempts - 1))
	}
}

const stored = "stored"

func outcomeOf(a eventstore.Appended) string {
	is := func(kinds ...error) bool {
		for _, kind := range kinds {
			if errors.Is(a.Err, kind) {
				return true
			}
		}
		return false
	}
	switch {
	case a.Err == nil && a.Revision.Replayed:
		return "duplicate"
	case a.Err == nil:
		return stored
	case is(eventstore.ErrConflict):
		return "conflict"
	case is(eventstore.ErrUnknownOutcome):
		return "unknown"
	case is(eventstore.ErrInvalid, eventstore.ErrTooLarge, eventstore.ErrCommitIDReused):
		return "refused"
	case is(eventstore.ErrCorrupt, eventstore.ErrDenied, eventstore.ErrUnsafeLog):
		return "failed"
	case is(eventstore.ErrUnavailable, context.Canceled, context.DeadlineExceeded):
		return "unavailable"
	}
	return "failed"
}

// names are the values that a label has had. There are not many.
type names struct {
	mu    sync.Mutex
	known map[string]bool
}

const (
	mostNames = 100
	otherName = "other"
)

// label returns the name, or "other" if it is none or one too many.
func (n *names) label(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.known[name]:
		return name
	case len(n.known) >= mostNames || !isName(name):
		return otherName
	}
	n.known[name] = true
	return name
}

// isName reports whether a stream's kind may have the name.
func isName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}
