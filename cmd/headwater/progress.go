package main

import (
	"fmt"
	"io"
	"time"

	"github.com/headwater-go/headwater/internal/cli"
)

// progress shows how far something is, and at what rate.
type progress struct {
	*cli.Bar
	what  string
	start time.Time
}

func newProgress(w io.Writer, what string) *progress {
	return &progress{Bar: cli.NewBar(w), what: what, start: time.Now()}
}

// show says that so many of total are done, or of an unknown number, if that is
// 0.
func (p *progress) show(done, total uint64) {
	p.Show(done, total, func() string { return p.line(done, total) })
}

func (p *progress) line(done, total uint64) string {
	rate := float64(done) / time.Since(p.start).Seconds()
	if total == 0 {
		return fmt.Sprintf("%d %s, %.0f/s", done, p.what, rate)
	}
	return fmt.Sprintf("%d of %d %s, %.0f/s", done, total, p.what, rate)
}
