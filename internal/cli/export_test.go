package cli

import "io"

// TerminalBar returns a bar that takes w for a terminal, and is due.
func TerminalBar(w io.Writer) *Bar {
	b := NewBar(w)
	b.terminal = true
	b.told = b.told.Add(-barInterval)
	return b
}

// DueBar returns a bar that would say something now.
func DueBar(w io.Writer) *Bar {
	b := NewBar(w)
	b.told = b.told.Add(-plainInterval)
	return b
}
