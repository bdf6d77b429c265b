package service

import (
	"context"
	"maps"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

const (
	hdrTraceParent = "traceparent"
	hdrTraceState  = "tracestate"

	maxTraceState = 512 // bytes, as W3C says
)

// metadataHeaders are the headers of metadata that is text of any kind. No others
// are taken from a request.
var metadataHeaders = [...]struct{ header, key string }{
	{hdrCorrelation, eventstore.CorrelationID},
	{hdrCausation, eventstore.CausationID},
	{hdrUser, eventstore.User},
}

// metadata returns what the headers say for the commit.
func metadata(h nats.Header) (map[string]string, error) {
	var found map[string]string
	set := func(key, value string) {
		if found == nil {
			found = make(map[string]string)
		}
		found[key] = value
	}
	for _, m := range metadataHeaders {
		switch value, err := longText(h, m.header, maxMetadata); {
		case err != nil:
			return nil, err
		case value != "":
			set(m.key, value)
		}
	}
	// Who follows traces is not to break what is traced.
	if parent, err := single(h, hdrTraceParent); err == nil && isTraceParent(parent) {
		set(eventstore.TraceParent, parent)
		if state, err := single(h, hdrTraceState); err == nil && state != "" && isTraceState(state) {
			set(eventstore.TraceState, state)
		}
	}
	return found, nil
}

// setMetadata is the inverse of metadata. It refuses what that does not take.
func setMetadata(h nats.Header, values map[string]string) error {
	for key, value := range values {
		header, ok := headerOf(key)
		switch {
		case !ok:
			return &eventstore.InvalidError{What: "metadata key", Value: clip(key, maxValue), Reason: "is not one that goes with a request"}
		case key == eventstore.TraceParent, key == eventstore.TraceState:
			h[header] = []string{value} // what is wrong with it, the service leaves out
			continue
		}
		if err := setLongText(h, header, value, maxMetadata); err != nil {
			return err
		}
	}
	return nil
}

// travels is the metadata of a context that goes with a request; what else an append
// would store is for this process.
func travels(ctx context.Context) map[string]string {
	values := eventstore.Metadata(ctx)
	maps.DeleteFunc(values, func(key, _ string) bool {
		_, ok := headerOf(key)
		return !ok
	})
	return values
}

// headerOf returns the header for a key of metadata.
func headerOf(key string) (name string, ok bool) {
	switch key {
	case eventstore.TraceParent:
		return hdrTraceParent, true
	case eventstore.TraceState:
		return hdrTraceState, true
	}
	for _, m := range metadataHeaders {
		if m.key == key {
			return m.header, true
		}
	}
	return "", false
}

// isTraceParent reports whether s is a W3C traceparent of the version that it says.
func isTraceParent(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; i != 2 && i != 35 && i != 52 && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return s[:2] != "ff" && strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

func isTraceState(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxTraceState
}
