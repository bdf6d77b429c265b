package storetest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// What a store refuses, as package eventstore says it.

func invalid(what, value, reason string) error {
	return &eventstore.InvalidError{What: what, Value: value, Reason: reason}
}

func check(id eventstore.StreamID, expected eventstore.Expectation, data []eventstore.EventData, opts *eventstore.AppendOptions) error {
	if err := checkStream(id); err != nil {
		return err
	}
	if e, ok := expected.(eventstore.Existence); expected == nil || ok && (e < eventstore.Any || e > eventstore.Exists) {
		return invalid("expectation", fmt.Sprint(expected), "is none")
	}
	if len(data) == 0 {
		return invalid("commit", "", "has no events")
	}
	for _, e := range data {
		if err := checkText("event type", e.Type, 1, 255); err != nil {
			return err
		}
		if err := checkText("content type", e.ContentType, 0, 255); err != nil {
			return err
		}
	}
	if y := opts.Time.UTC().Year(); !opts.Time.IsZero() && (y < 1 || y > 9999) {
		return invalid("time", opts.Time.String(), "is not in the years 1 to 9999")
	}
	for key, value := range opts.Metadata {
		const defined = " id type source specversion subject time datacontenttype dataschema data "
		if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || key == "" || len(key) > 20 || strings.HasPrefix(key, "hw") || strings.Contains(defined, " "+key+" ") {
			return invalid("metadata key", key, "cannot be")
		}
		if err := checkText("metadata value of "+key, value, 0, 1<<30); err != nil {
			return err
		}
	}
	return checkText("commit id", opts.CommitID, 0, 255)
}

func checkStream(id eventstore.StreamID) error {
	if err := checkKind(id.Kind); err != nil {
		return err
	}
	return checkText("stream id", id.ID, 1, 255)
}

func checkKind(kind string) error {
	if strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || kind == "" || len(kind) > 64 {
		return invalid("stream kind", kind, "cannot be")
	}
	return nil
}

func checkChoice(opts *eventstore.LogOptions) error {
	for _, kind := range opts.Kinds {
		if err := checkKind(kind); err != nil {
			return err
		}
	}
	for _, name := range opts.Types {
		if err := checkText("event type", name, 1, 255); err != nil {
			return err
		}
	}
	return nil
}

func checkText(what, s string, least, most int) error {
	noncharacter := func(r rune) bool { return 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe }
	if len(s) < least || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsFunc(s, noncharacter) {
		return invalid(what, s, "cannot be")
	}
	return nil
}
