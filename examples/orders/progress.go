package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	barWidth    = 30
	barInterval = 100 * time.Millisecond
	plainLines  = 20 // of progress, however large the import
)

// progress shows how far an import is: as a bar on a terminal, as a line now
// and then elsewhere.
type progress struct {
	w        io.Writer
	total    int
	start    time.Time
	terminal bool
	drawn    time.Time // when the bar was, zero if it is not to be seen
}

func newProgress(w io.Writer, total int) *progress {
	return &progress{w: w, total: total, start: time.Now(), terminal: isTerminal(w)}
}

// isTerminal reports whether w is a device that can move its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show says that so many orders are done.
func (p *progress) show(done int) {
	switch {
	case p.terminal:
		if time.Since(p.drawn) >= barInterval || done == p.total {
			p.draw(done)
		}
	case done*plainLines/p.total > (done-1)*plainLines/p.total:
		fmt.Fprintf(p.w, "%d of %d orders\n", done, p.total)
	}
}

func (p *progress) draw(done int) {
	filled := barWidth * done / p.total
	fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %d of %d orders, %.0f/s",
		strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), done, p.total, p.rate(done))
	p.drawn = time.Now()
}

// clear removes the bar, so that something else can be printed.
func (p *progress) clear() {
	if !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}

func (p *progress) rate(done int) float64 {
	return float64(done) / time.Since(p.start).Seconds()
}
