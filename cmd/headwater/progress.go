package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	barWidth      = 30
	barInterval   = 100 * time.Millisecond
	plainInterval = 10 * time.Second
)

// progress shows how far something is: as a bar on a terminal, as a line now and
// then elsewhere.
type progress struct {
	w        io.Writer
	what     string
	terminal bool
	start    time.Time
	told     time.Time
	drawn    bool
}

func newProgress(w io.Writer, what string) *progress {
	now := time.Now()
	return &progress{w: w, what: what, terminal: isTerminal(w), start: now, told: now}
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

// show says that so many of total are done, or of an unknown number, if that is
// 0.
func (p *progress) show(done, total uint64) {
	interval := plainInterval
	if p.terminal {
		interval = barInterval
	}
	if time.Since(p.told) < interval {
		return
	}
	p.told = time.Now()
	line := p.line(done, total)
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	if p.drawn = true; total > 0 {
		filled := int(barWidth * min(done, total) / total)
		line = fmt.Sprintf("[%s%s] %s", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), line)
	}
	fmt.Fprint(p.w, "\r\x1b[K", line)
}

func (p *progress) line(done, total uint64) string {
	rate := float64(done) / time.Since(p.start).Seconds()
	if total == 0 {
		return fmt.Sprintf("%d %s, %.0f/s", done, p.what, rate)
	}
	return fmt.Sprintf("%d of %d %s, %.0f/s", done, total, p.what, rate)
}

// clear removes the bar, so that something else can be printed.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
