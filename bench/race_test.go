package bench

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
)

// An entrant loads the orders of a group, in turn, in one way.
type entrant struct {
	name   string
	group  group
	load   way
	next   int
	length time.Duration // of a turn

	trips      float64
	cold, warm []float64 // what loads took, in microseconds
}

func (e *entrant) report(b *testing.B) {
	b.ReportMetric(e.trips, e.name+"-trips")
	b.ReportMetric(quantile(e.warm, 0.5), e.name+"-p50-µs")
	b.ReportMetric(quantile(e.warm, 0.99), e.name+"-p99-µs")
	b.ReportMetric(quantile(e.cold, 0.5), e.name+"-cold-µs")
}

// once loads one order and returns how long that took.
func (e *entrant) once(b *testing.B) float64 {
	id := e.group.ids[e.next%len(e.group.ids)]
	e.next++
	start := time.Now()
	o, err := e.load(context.Background(), id)
	took := time.Since(start)
	if err == nil && o.Events != e.group.events {
		err = errors.New("it is not the whole order")
	}
	if err != nil {
		b.Fatalf("%s of %s: %d events, %v", e.name, id, o.Events, err)
	}
	return float64(took.Nanoseconds()) / 1000
}

// turn loads for a while, and returns the median. Before that it loads each order
// once, to have in memory what the server keeps there; if cold, after a garbage
// collection.
func (e *entrant) turn(b *testing.B, cold bool) float64 {
	const most = 10_000
	if cold {
		runtime.GC()
		e.cold = append(e.cold, e.once(b))
	}
	for range e.group.ids {
		e.once(b)
	}
	begin := len(e.warm)
	for start := time.Now(); len(e.warm) == begin || time.Since(start) < e.length && len(e.warm) < begin+most; {
		e.warm = append(e.warm, e.once(b))
	}
	return quantile(e.warm[begin:], 0.5)
}

// race lets the entrants take turns as compare does, and reports for each pair
// how many times faster the first one's median is: the median of the rounds, and
// their 10th and 90th percentile.
func race(b *testing.B, all []*entrant, pairs [][2]string) {
	ratios := make(map[string][]float64)
	for b.Loop() {
		took := make(map[string]float64)
		for half := range 2 {
			for _, e := range all {
				took[e.name] += e.turn(b, half == 0)
			}
			slices.Reverse(all)
		}
		for _, p := range pairs {
			if took[p[1]] > 0 {
				ratios[p[0]+"/"+p[1]] = append(ratios[p[0]+"/"+p[1]], took[p[1]]/took[p[0]])
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, e := range all {
		e.report(b)
	}
	reportRatios(b, ratios)
}

func reportRatios(b *testing.B, ratios map[string][]float64) {
	for name, r := range ratios {
		b.ReportMetric(quantile(r, 0.5), name)
		b.ReportMetric(quantile(r, 0.1), name+"-p10")
		b.ReportMetric(quantile(r, 0.9), name+"-p90")
	}
}
