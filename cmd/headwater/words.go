package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// quote returns text that came from a log as it is if a terminal shows it so,
// and otherwise as a Go string.
func quote(s string) string {
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

// clean returns text with all of that escaped but line feeds, and URLs without
// secrets, for errors, which may cite anything: a URL where a file should be.
func clean(s string) string {
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

// dataWidth is how many bytes of an event's data a line for people shows.
const dataWidth = 120

// describe returns an event's data for people.
func describe(data []byte) string {
	if len(data) <= dataWidth {
		return quote(string(data))
	}
	cut := dataWidth
	for cut > 0 && !utf8.RuneStart(data[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", quote(string(data[:cut])), len(data))
}

const timeForm = "2006-01-02T15:04:05.000Z"

func formTime(t time.Time) string { return t.UTC().Format(timeForm) }

// printJSON writes a value as a line of JSON.
func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// printEvent writes an event as a CloudEvent on a line. The encoder of package
// json would escape characters of its data.
func printEvent(w io.Writer, e eventstore.Event) error {
	line, err := e.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
