package cli

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

// Bar shows how far something is: as a bar on a terminal, as a line now and
// then elsewhere.
type Bar struct {
	w        io.Writer
	terminal bool
	told     time.Time
	drawn    bool
}

// NewBar returns a bar that is not to be seen yet.
func NewBar(w io.Writer) *Bar {
	return &Bar{w: w, terminal: isTerminal(w), told: time.Now()}
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

// Show says that so many of total are done, or of an unknown number, if that is
// 0, unless it said so a moment ago. The words are what it says besides.
func (b *Bar) Show(done, total uint64, words func() string) {
	interval := plainInterval
	if b.terminal {
		interval = barInterval
	}
	if time.Since(b.told) < interval {
		return
	}
	b.told = time.Now()
	line := words()
	if !b.terminal {
		fmt.Fprintln(b.w, line)
		return
	}
	if b.drawn = true; total > 0 {
		filled := int(barWidth * min(done, total) / total)
		line = fmt.Sprintf("[%s%s] %s", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), line)
	}
	fmt.Fprint(b.w, "\r\x1b[K", line)
}

// Clear removes the bar, so that something else can be printed.
func (b *Bar) Clear() {
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
		b.drawn = false
	}
}
