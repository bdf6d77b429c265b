package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/terminal"
)

// dataWidth is how many bytes of an event's data a line for people shows.
const dataWidth = 120

// describe returns an event's data for people.
func describe(data []byte) string {
	if len(data) <= dataWidth {
		return terminal.Quote(string(data))
	}
	cut := dataWidth
	for cut > 0 && !utf8.RuneStart(data[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", terminal.Quote(string(data[:cut])), len(data))
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
