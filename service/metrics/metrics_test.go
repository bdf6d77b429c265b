package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/metrics"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/prometheus/client_golang/prometheus"
)

func newMetrics(t *testing.T) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

// Each error of an append is an outcome.
func TestAppendOutcomes(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	want := map[string]float64{"append_events_total{kind=till}": 3, "append_retries_total{kind=till}": 4}
	for _, row := range []struct {
		outcome string
		a       eventstore.Appended
	}{
		{"stored", eventstore.Appended{Attempts: 1, Events: 3}},
		{"duplicate", eventstore.Appended{Attempts: 2, Events: 3, Revision: eventstore.Revision{Replayed: true}}},
		{"conflict", eventstore.Appended{Attempts: 1, Err: &eventstore.ConflictError{}}},
		{"unknown", eventstore.Appended{Attempts: 4, Err: &eventstore.UnknownOutcomeError{Cause: context.DeadlineExceeded}}},
		{"unavailable", eventstore.Appended{Err: fmt.Errorf("x: %w", eventstore.ErrUnavailable)}},
		{"unavailable", eventstore.Appended{Err: fmt.Errorf("x: %w", context.DeadlineExceeded)}},
		{"unavailable", eventstore.Appended{Err: fmt.Errorf("x: %w", context.Canceled)}},
		{"refused", eventstore.Appended{Err: &eventstore.InvalidError{}}},
		{"refused", eventstore.Appended{Err: &eventstore.TooLargeError{}}},
		{"refused", eventstore.Appended{Err: &eventstore.CommitIDReusedError{}}},
		{"failed", eventstore.Appended{Err: &eventstore.CorruptionError{}}},
		{"failed", eventstore.Appended{Err: &eventstore.DeniedError{Reason: context.DeadlineExceeded}}},
		{"failed", eventstore.Appended{Err: &eventstore.UnsafeLogError{}}},
		{"failed", eventstore.Appended{Err: errors.New("the disk is full")}},
	} {
		row.a.Stream, row.a.Took = eventstore.StreamID{Kind: "till", ID: "x"}, time.Millisecond
		m.Append(t.Context(), row.a)
		want["append_duration_seconds{kind=till,outcome="+row.outcome+"}"]++
	}
	wantFigures(t, registry, "append_", want)
	lint(t, registry)
}

// However many kinds there are, and whatever they are, a label has few values.
func TestKindsAreBounded(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	for _, kind := range []string{"", "a b", "\xff", "x\n", "ключ", fmt.Sprintf("%065d", 1)} {
		m.Append(t.Context(), eventstore.Appended{Stream: eventstore.StreamID{Kind: kind}, Took: 1, Events: 1})
	}
	wantFigures(t, registry, "append_events", map[string]float64{"append_events_total{kind=other}": 6})
	for range 2 {
		for i := range 1000 {
			m.Append(t.Context(), eventstore.Appended{Stream: eventstore.StreamID{Kind: fmt.Sprint(i)}, Took: 1, Events: 1})
		}
	}
	want := map[string]float64{"append_events_total{kind=other}": 6 + 2*900}
	for i := range 100 {
		want[fmt.Sprintf("append_events_total{kind=%d}", i)] = 2
	}
	wantFigures(t, registry, "append_events", want)
}

// A connection is lost once, however many reasons there are why it does not come back.
func TestConnection(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	for _, step := range []struct {
		state                        service.ConnState
		up, losses, comebacks, refus float64
	}{
		{service.Disconnected, 0, 0, 0, 0}, // it never was there
		{service.Connected, 1, 0, 0, 0},
		{service.Refused, 1, 0, 0, 1},
		{service.LameDuck, 1, 0, 0, 1},
		{service.Disconnected, 0, 1, 0, 1},
		{service.Disconnected, 0, 1, 0, 1},
		{service.Reconnected, 1, 1, 1, 1},
		{service.Disconnected, 0, 2, 1, 1},
		{service.Reconnected, 1, 2, 2, 1},
		{service.Closed, 0, 2, 2, 1},
	} {
		m.Connection(service.ConnStatus{State: step.state})
		wantFigures(t, registry, "connection_", map[string]float64{
			"connection_up{}": step.up, "connection_losses_total{}": step.losses,
			"connection_reconnects_total{}": step.comebacks, "connection_refusals_total{}": step.refus,
		})
	}
}

// What hooks are called for is counted, for each projection by itself.
func TestHooks(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	h := m.Hooks()
	state := func(name string, s projection.State, err error) {
		h.State(projection.Status{Projection: name, State: s, Err: err})
	}
	state("a", projection.CatchingUp, nil)
	state("a", projection.Live, nil)
	state("a", projection.CatchingUp, nil)
	state("a", projection.Stopped, errPoison)
	state("a", projection.Standby, nil)
	state("a", projection.Stopped, nil)
	state("b", projection.Live, nil)
	h.Batch(projection.Batch{Projection: "a", Commits: 3, Events: 2, Took: time.Millisecond})
	h.Batch(projection.Batch{Projection: "a", Commits: 4, Events: 0, Took: time.Millisecond})
	h.Failure(projection.Failure{Projection: "a", Position: 3})
	h.Failure(projection.Failure{Projection: "a", Position: 3, Parked: true})
	h.Failure(projection.Failure{Projection: "a", Err: errPoison})
	wantFigures(t, registry, "projection_", map[string]float64{
		"projection_starts_total{projection=a}": 2, "projection_starts_total{projection=b}": 1,
		"projection_stops_total{cause=failed,projection=a}": 1, "projection_stops_total{cause=asked,projection=a}": 1,
		"projection_commits_total{projection=a}": 7, "projection_events_total{projection=a}": 2,
		"projection_batch_duration_seconds{projection=a}":         2,
		"projection_failures_total{projection=a,where=handler}":   2,
		"projection_failures_total{projection=a,where=elsewhere}": 1,
		"projection_parked_total{projection=a}":                   1,
	})
	lint(t, registry)
}

// Several of the same name are added up, and each figure is the one that it is called.
func TestSums(t *testing.T) {
	t.Parallel()
	m, registry := newMetrics(t)
	for range 2 {
		m.Repository("till", func() aggregate.Stats {
			return aggregate.Stats{FromCache: 1, FromSnapshot: 2, FromLog: 3, Conflicts: 4}
		})
		m.Snapshots("s\xff", func() snapshot.Stats {
			return snapshot.Stats{
				Hits: 1, Misses: 2, OtherLog: 3, OtherSchema: 4, Damaged: 5, Unreadable: 6, Discarded: 7,
				Saved: 8, Older: 9, Dropped: 10, Failed: 11, SetAside: 12, Waiting: 13,
			}
		})
	}
	wantFigures(t, registry, "aggregate_", map[string]float64{
		"aggregate_loads_total{kind=till,source=cache}": 2, "aggregate_loads_total{kind=till,source=snapshot}": 4,
		"aggregate_loads_total{kind=till,source=log}": 6, "aggregate_conflicts_total{kind=till}": 8,
	})
	wantFigures(t, registry, "snapshot_", map[string]float64{
		"snapshot_loads_total{result=hit,store=s}": 2, "snapshot_loads_total{result=miss,store=s}": 4,
		"snapshot_unusable_total{reason=other_log,store=s}": 6, "snapshot_unusable_total{reason=other_schema,store=s}": 8,
		"snapshot_unusable_total{reason=damaged,store=s}": 10, "snapshot_unusable_total{reason=unreadable,store=s}": 12,
		"snapshot_unusable_total{reason=discarded,store=s}": 14,
		"snapshot_saves_total{result=saved,store=s}":        16, "snapshot_saves_total{result=older,store=s}": 18,
		"snapshot_saves_total{result=dropped,store=s}": 20, "snapshot_saves_total{result=failed,store=s}": 22,
		"snapshot_set_aside_files_total{store=s}": 24, "snapshot_waiting{store=s}": 26,
	})
	lint(t, registry)
}
