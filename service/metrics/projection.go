package metrics

import (
	"sync"

	"github.com/headwater-go/headwater/projection"
	"github.com/prometheus/client_golang/prometheus"
)

// hooks are the figures of what projections do.
type hooks struct {
	duration                                         *prometheus.HistogramVec
	commits, events, failures, parked, starts, stops *prometheus.CounterVec

	mu   *sync.Mutex
	last map[string]projection.State
}

func newHooks() hooks {
	const name = "projection"
	return hooks{
		mu: new(sync.Mutex), last: make(map[string]projection.State),
		duration: histogram("projection_batch_duration_seconds", "How long the transactions of projections took.", name),
		commits:  counters("projection_commits_total", "Commits that the transactions of projections passed.", name),
		events:   counters("projection_events_total", "Events that had handlers.", name),
		failures: counters("projection_failures_total", "Attempts that failed, in a handler or elsewhere.", name, "where"),
		parked:   counters("projection_parked_total", "Commits that were parked, without those behind them.", name),
		starts:   counters("projection_starts_total", "How often projections began to run.", name),
		stops:    counters("projection_stops_total", "How often projections stopped, as asked or because they failed.", name, "cause"),
	}
}

func (h hooks) all() []prometheus.Collector {
	return []prometheus.Collector{h.duration, h.commits, h.events, h.failures, h.parked, h.starts, h.stops}
}

func (h hooks) batch(b projection.Batch) {
	h.duration.WithLabelValues(b.Projection).Observe(b.Took.Seconds())
	h.commits.WithLabelValues(b.Projection).Add(float64(b.Commits))
	h.events.WithLabelValues(b.Projection).Add(float64(b.Events))
}

func (h hooks) failure(f projection.Failure) {
	where := "elsewhere"
	if f.Position > 0 {
		where = "handler"
	}
	h.failures.WithLabelValues(f.Projection, where).Inc()
	if f.Parked {
		h.parked.WithLabelValues(f.Projection).Inc()
	}
}

func (h hooks) state(s projection.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ran := h.last[s.Projection] != "" && h.last[s.Projection] != projection.Stopped
	h.last[s.Projection] = s.State
	switch {
	case s.State != projection.Stopped && !ran:
		h.starts.WithLabelValues(s.Projection).Inc()
	case s.State == projection.Stopped && s.Err != nil:
		h.stops.WithLabelValues(s.Projection, "failed").Inc()
	case s.State == projection.Stopped:
		h.stops.WithLabelValues(s.Projection, "asked").Inc()
	}
}
