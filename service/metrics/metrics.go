package metrics

import (
	"fmt"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of a service. Its methods may be called from several
// goroutines.
type Metrics struct {
	connection  connection
	appends     appends
	requests    *prometheus.HistogramVec
	projections hooks

	mu           sync.Mutex
	projects     map[string]service.Projection
	repositories map[string][]func() aggregate.Stats // by kind
	snapshots    map[string][]func() snapshot.Stats  // by name
}

// New returns metrics that a registry collects. The error is an
// [eventstore.InvalidError] if there is none, or the registry's, if it has such metrics
// already for example.
func New(registerer prometheus.Registerer) (*Metrics, error) {
	if registerer == nil {
		return nil, &eventstore.InvalidError{What: "registerer", Reason: "is nil"}
	}
	m := &Metrics{
		connection: newConnection(), appends: newAppends(), projections: newHooks(),
		requests:     histogram("request_duration_seconds", "How long requests took, since they arrived.", "endpoint", "outcome"),
		projects:     make(map[string]service.Projection),
		repositories: make(map[string][]func() aggregate.Stats),
		snapshots:    make(map[string][]func() snapshot.Stats),
	}
	if err := registerer.Register(collector{m}); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

// Connection counts what happened to a connection, see [service.Options.OnConnection].
func (m *Metrics) Connection(s service.ConnStatus) { m.connection.count(s) }

// Answer counts a request, see [service.RespondOptions.OnAnswer].
func (m *Metrics) Answer(a service.Answered) {
	m.requests.WithLabelValues(a.Subject, a.Outcome).Observe(a.Took.Seconds())
}

// Hooks returns the hooks that count what projections do. Several projections may
// have them.
func (m *Metrics) Hooks() projection.Hooks {
	return projection.Hooks{Batch: m.projections.batch, Failure: m.projections.failure, State: m.projections.state}
}

// Projection has the projection's status collected from now on. Of two with the same
// name the last one counts.
func (m *Metrics) Projection(p service.Projection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.projects[p.Name()] = p
}

// Repository has the counts of a repository of a kind collected from now on:
//
//	m.Repository("order", orders.Stats)
//
// Those of several with the same kind are added up.
func (m *Metrics) Repository(kind string, stats func() aggregate.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kind = strings.ToValidUTF8(kind, "")
	m.repositories[kind] = append(m.repositories[kind], stats)
}

// Snapshots has the counts of a store of snapshots collected from now on, by a name.
// Those of several with the same name are added up.
func (m *Metrics) Snapshots(name string, stats func() snapshot.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = strings.ToValidUTF8(name, "")
	m.snapshots[name] = append(m.snapshots[name], stats)
}

const namespace = "headwater"

// buckets are in seconds: from an append to a server in the process to what waits for
// one that is away.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}
