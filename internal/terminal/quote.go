// Package terminal is what commands need that talk to people on a terminal.
package terminal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Quote returns text that came from a log as it is if a terminal shows it so,
// and otherwise as a Go string.
func Quote(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return strconv.Quote(s)
	}
	return s
}

// unprintable reports whether a terminal might do something else with a
// character than show it. That includes those which change the direction of
// text.
func unprintable(r rune) bool { return !strconv.IsPrint(r) }

// userinfo is what may stand before the host of a URL.
var userinfo = regexp.MustCompile(`://[^"\n]*@`)

// Clean returns text with all of that escaped but line feeds, and URLs without
// secrets, for errors, which may cite anything: a URL where a file should be.
func Clean(s string) string {
	s = userinfo.ReplaceAllLiteralString(s, "://")
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || !unprintable(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
