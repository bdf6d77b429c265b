package terminal

import "io"

// NewBar returns a Progress on a terminal.
func NewBar(w io.Writer, what string) *Progress {
	p := NewProgress(w, what)
	p.terminal = true
	p.told = p.told.Add(-barInterval)
	return p
}
