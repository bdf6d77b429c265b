package metrics

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/prometheus/client_golang/prometheus"
)

// collector is what a registry sees of metrics: all or nothing.
type collector struct{ *Metrics }

func (c collector) counted() []prometheus.Collector {
	return slices.Concat([]prometheus.Collector{c.requests}, c.connection.all(), c.appends.all(), c.projections.all())
}

// Describe is that of [prometheus.Collector].
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, counted := range c.counted() {
		counted.Describe(to)
	}
	for _, d := range []*prometheus.Desc{
		loads, conflicts, snapshotLoads, snapshotUnusable, snapshotSaves, snapshotFiles, snapshotWaiting,
		projectionState, projectionPosition, projectionLag, projectionBehind, projectionParked,
	} {
		to <- d
	}
}

// Collect is that of [prometheus.Collector].
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, counted := range c.counted() {
		counted.Collect(to)
	}
	c.mu.Lock()
	repositories, snapshots := copied(c.repositories), copied(c.snapshots)
	projects := slices.Collect(maps.Values(c.projects))
	c.mu.Unlock()
	for kind, stats := range repositories {
		collectRepository(to, kind, stats)
	}
	for name, stats := range snapshots {
		collectSnapshots(to, name, stats)
	}
	heads := headsOf(projects)
	for _, p := range projects {
		collectProjection(to, p.Status(), heads[p.Store()])
	}
}

func copied[V any](m map[string][]V) map[string][]V {
	m = maps.Clone(m)
	for key, list := range m {
		m[key] = slices.Clone(list)
	}
	return m
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	loads     = desc("aggregate_loads_total", "States of aggregates, by where they came from.", "kind", "source")
	conflicts = desc("aggregate_conflicts_total", "Decisions that were in vain, since another writer was faster.", "kind")

	snapshotLoads    = desc("snapshot_loads_total", "Loads of snapshots, by whether there was one.", "store", "result")
	snapshotUnusable = desc("snapshot_unusable_total", "Snapshots that were of no use, by why.", "store", "reason")
	snapshotSaves    = desc("snapshot_saves_total", "Snapshots to save, by what became of them.", "store", "result")
	snapshotFiles    = desc("snapshot_set_aside_files_total", "Damaged files of snapshots that were replaced.", "store")
	snapshotWaiting  = desc("snapshot_waiting", "Snapshots that wait to be saved.", "store")

	projectionState    = desc("projection_state", "Whether a projection is in a state: 1, or 0.", "projection", "state")
	projectionPosition = desc("projection_position", "Position up to which a projection has handled everything.", "projection")
	projectionLag      = desc("projection_lag_commits", "Commits of the log that a projection has not handled.", "projection")
	projectionBehind   = desc("projection_lag_seconds", "How old the oldest commit is that a projection has read and not handled.", "projection")
	projectionParked   = desc("projection_parked_streams", "Streams that are parked.", "projection")
)

func count[N int | uint64](to chan<- prometheus.Metric, d *prometheus.Desc, n N, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge[N int | uint64 | float64](to chan<- prometheus.Metric, d *prometheus.Desc, n N, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
}

func collectRepository(to chan<- prometheus.Metric, kind string, all []func() aggregate.Stats) {
	var sum aggregate.Stats
	for _, stats := range all {
		s := stats()
		sum.FromCache += s.FromCache
		sum.FromSnapshot += s.FromSnapshot
		sum.FromLog += s.FromLog
		sum.Conflicts += s.Conflicts
	}
	count(to, loads, sum.FromCache, kind, "cache")
	count(to, loads, sum.FromSnapshot, kind, "snapshot")
	count(to, loads, sum.FromLog, kind, "log")
	count(to, conflicts, sum.Conflicts, kind)
}

func collectSnapshots(to chan<- prometheus.Metric, name string, all []func() snapshot.Stats) {
	sum := func(figure func(snapshot.Stats) uint64) (n uint64) {
		for _, stats := range all {
			n += figure(stats())
		}
		return n
	}
	for _, one := range []struct {
		desc   *prometheus.Desc
		label  string
		figure func(snapshot.Stats) uint64
	}{
		{snapshotLoads, "hit", func(s snapshot.Stats) uint64 { return s.Hits }},
		{snapshotLoads, "miss", func(s snapshot.Stats) uint64 { return s.Misses }},
		{snapshotUnusable, "other_log", func(s snapshot.Stats) uint64 { return s.OtherLog }},
		{snapshotUnusable, "other_schema", func(s snapshot.Stats) uint64 { return s.OtherSchema }},
		{snapshotUnusable, "damaged", func(s snapshot.Stats) uint64 { return s.Damaged }},
		{snapshotUnusable, "unreadable", func(s snapshot.Stats) uint64 { return s.Unreadable }},
		{snapshotUnusable, "discarded", func(s snapshot.Stats) uint64 { return s.Discarded }},
		{snapshotSaves, "saved", func(s snapshot.Stats) uint64 { return s.Saved }},
		{snapshotSaves, "older", func(s snapshot.Stats) uint64 { return s.Older }},
		{snapshotSaves, "dropped", func(s snapshot.Stats) uint64 { return s.Dropped }},
		{snapshotSaves, "failed", func(s snapshot.Stats) uint64 { return s.Failed }},
	} {
		count(to, one.desc, sum(one.figure), name, one.label)
	}
	count(to, snapshotFiles, sum(func(s snapshot.Stats) uint64 { return s.SetAside }), name)
	gauge(to, snapshotWaiting, sum(func(s snapshot.Stats) uint64 { return uint64(s.Waiting) }), name)
}

// headTime bounds what is asked of the logs for one collection.
const headTime = time.Second

// headsOf returns the logs' last positions, 0 where that is not to be had. What a
// projection knows itself is of when it last read something.
func headsOf(projects []service.Projection) map[*eventstore.Store]uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), headTime)
	defer cancel()
	heads := make(map[*eventstore.Store]uint64)
	for _, p := range projects {
		if _, asked := heads[p.Store()]; !asked {
			heads[p.Store()], _ = p.Store().Position(ctx)
		}
	}
	return heads
}

func collectProjection(to chan<- prometheus.Metric, s projection.Status, head uint64) {
	s.Head = max(s.Head, head)
	for _, state := range []projection.State{projection.Stopped, projection.Standby, projection.CatchingUp, projection.Live} {
		is := 0
		if state == s.State {
			is = 1
		}
		gauge(to, projectionState, is, s.Projection, string(state))
	}
	if s.State == projection.Standby {
		return // how far the other process is, this one does not know
	}
	gauge(to, projectionPosition, s.Position, s.Projection)
	gauge(to, projectionLag, s.Lag(), s.Projection)
	gauge(to, projectionBehind, s.Behind.Seconds(), s.Projection)
	gauge(to, projectionParked, s.Parked, s.Projection)
}
