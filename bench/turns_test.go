package bench

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// A contender is one side of a comparison. run does its work units times.
type contender struct {
	name  string
	units int // in one turn
	run   func(tb testing.TB, units int)
}

// turn returns how long the contender takes for its units.
func (c contender) turn(tb testing.TB) time.Duration {
	tb.Helper()
	// Nobody's turn pays for what the one before left to collect.
	runtime.GC()
	start := time.Now()
	c.run(tb, c.units)
	return time.Since(start)
}

// compare lets ours and its rivals take turns, and reports the ratios of ours
// to each rival. unit is what a contender does, in the plural.
func compare(b *testing.B, unit string, ours contender, rivals ...contender) {
	b.Helper()
	all := append(slices.Clone(rivals), ours)
	for _, c := range all {
		c.run(b, max(c.units/4, 1)) // warm up
	}
	rates := make(map[string][]float64)
	for b.Loop() {
		took := make(map[string]time.Duration)
		for range 2 { // A B B A, so that a drift of the machine evens out
			for _, c := range all {
				took[c.name] += c.turn(b)
			}
			slices.Reverse(all)
		}
		for _, c := range all {
			rates[c.name] = append(rates[c.name], float64(2*c.units)/took[c.name].Seconds())
		}
	}
	// The time of an iteration is that of all sides together.
	b.ReportMetric(0, "ns/op")
	for _, rival := range rivals {
		ratios := make([]float64, 0, b.N)
		for i, rate := range rates[rival.name] {
			ratios = append(ratios, rates[ours.name][i]/rate)
		}
		name := ours.name + "/" + rival.name
		b.ReportMetric(quantile(ratios, 0.5), name)
		b.ReportMetric(quantile(ratios, 0.1), name+"-p10")
		b.ReportMetric(quantile(ratios, 0.9), name+"-p90")
	}
	for name, r := range rates {
		b.ReportMetric(quantile(r, 0.5), name+"-"+unit+"/s")
	}
}

// quantile returns the value below which the share q of values lies, between
// the nearest two where it falls between them.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0.9, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 4, 3, 2, 1, 0}, 0.1, 0.5},
	} {
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", test.values, test.q, got, test.want)
		}
	}
}
