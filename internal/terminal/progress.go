package terminal

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

// Progress shows how far something is: as a bar on a terminal, as a line now and
// then elsewhere.
type Progress struct {
	w        io.Writer
	what     string
	terminal bool
	start    time.Time
	told     time.Time
	drawn    bool
}

// NewProgress returns one that counts something, in the plural.
func NewProgress(w io.Writer, what string) *Progress {
	now := time.Now()
	return &Progress{w: w, what: what, terminal: IsTerminal(w), start: now, told: now}
}

// IsTerminal reports whether w is a device that can move its cursor.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Show says that so many of total are done, or of an unknown number, if that is
// 0.
func (p *Progress) Show(done, total uint64) {
	p.Say(done, total, func() string { return p.line(done, total) })
}

// Say is Show in other words, if it is time to say something.
func (p *Progress) Say(done, total uint64, words func() string) {
	interval := plainInterval
	if p.terminal {
		interval = barInterval
	}
	if time.Since(p.told) < interval {
		return
	}
	p.told = time.Now()
	line := words()
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

func (p *Progress) line(done, total uint64) string {
	rate := float64(done) / time.Since(p.start).Seconds()
	if total == 0 {
		return fmt.Sprintf("%d %s, %.0f/s", done, p.what, rate)
	}
	return fmt.Sprintf("%d of %d %s, %.0f/s", done, total, p.what, rate)
}

// Clear removes the bar, so that something else can be printed.
func (p *Progress) Clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
