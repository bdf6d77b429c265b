package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// A cloudEvent is an event in the JSON format of CloudEvents 1.0: attributes as
// text, and data byte for byte as it was before it was put into JSON.
type cloudEvent struct {
	attributes map[string]string
	data       []byte
}

// The attributes that CloudEvents defines, and those that only Headwater's have.
const (
	ceSpec, ceID, ceSource, ceType  = "specversion", "id", "source", "type"
	ceSubject, ceTime               = "subject", "time"
	ceContentType, ceSchema         = "datacontenttype", "dataschema"
	ceData, ceBase64                = "data", "data_base64"
	hwVersion, hwPosition, hwCommit = "hwversion", "hwposition", "hwcommit"
	hwRecorded                      = "hwrecorded"
)

// parseCloudEvent decodes a line.
func parseCloudEvent(line []byte) (*cloudEvent, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("it is not UTF-8")
	}
	members, err := parseObject(line)
	if err != nil {
		return nil, err
	}
	ce := &cloudEvent{attributes: make(map[string]string, len(members))}
	for name, raw := range members {
		if name == ceData || name == ceBase64 || string(raw) == "null" {
			continue
		}
		if ce.attributes[name], err = parseAttribute(raw); err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	for _, name := range []string{ceSpec, ceID, ceSource, ceType} {
		if ce.attributes[name] == "" {
			return nil, fmt.Errorf("it is no CloudEvent: attribute %s is missing", name)
		}
	}
	if v := ce.attributes[ceSpec]; v != "1.0" {
		return nil, fmt.Errorf("CloudEvents of version %q are not known, 1.0 is", v)
	}
	return ce, ce.parseData(members)
}

// parseObject returns the members of a JSON object as they are written. A name
// that comes twice is an error, since one of the two would be lost.
func parseObject(line []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		name := token.(string) // or Token would have failed
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("it has %q twice", name)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, notJSON(err)
		}
		members[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	if len(bytes.TrimSpace(line[dec.InputOffset():])) > 0 {
		return nil, errors.New("something follows the JSON object on its line")
	}
	return members, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("it is not JSON: %w", err)
}

// parseAttribute returns an attribute as text, which is what a log keeps.
func parseAttribute(raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		return parseString(raw)
	case '{', '[':
		return "", errors.New("it is neither text, nor a number, nor true or false")
	}
	return string(raw), nil
}

// parseString decodes a JSON string. The json package makes U+FFFD of half a
// surrogate pair, which would be another text.
func parseString(raw json.RawMessage) (s string, err error) {
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", errors.New("it is not a string")
	}
	const replacement = "\ufffd"
	if strings.Contains(s, replacement) && !bytes.Contains(raw, []byte(replacement)) &&
		!bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		return "", errors.New("it has half a surrogate pair")
	}
	return s, nil
}

// parseData sets the data. Without a content type the data of a CloudEvent is
// JSON.
func (ce *cloudEvent) parseData(members map[string]json.RawMessage) error {
	plain, has := members[ceData]
	encoded, has64 := members[ceBase64]
	var err error
	switch {
	case has && has64:
		return errors.New("it has data and data_base64")
	case has64:
		err = json.Unmarshal(encoded, &ce.data)
	case !has:
	case ce.attributes[ceContentType] == "":
		ce.attributes[ceContentType] = "application/json"
		ce.data = plain
	case isJSON(ce.attributes[ceContentType]):
		ce.data = plain
	default:
		var text string
		text, err = parseString(plain)
		ce.data = []byte(text)
	}
	if err != nil {
		return fmt.Errorf("its data is not what %q is in JSON: %w", ce.attributes[ceContentType], err)
	}
	return nil
}

// isJSON reports whether data of a content type is JSON, as eventstore says.
func isJSON(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// exported returns the event of Headwater that a CloudEvent is. Its commit may
// have others.
func (ce *cloudEvent) exported() (e eventstore.Event, err error) {
	for _, name := range []string{hwVersion, hwPosition, hwCommit} {
		if ce.attributes[name] == "" {
			return e, fmt.Errorf("attribute %s is missing: it is no event that Headwater exported; -kind imports others", name)
		}
	}
	e.EventData = ce.event()
	if e.Stream, err = ce.stream(); err != nil {
		return e, err
	}
	if e.Version, err = ce.number(hwVersion); err != nil {
		return e, err
	}
	if e.Position, err = ce.number(hwPosition); err != nil {
		return e, err
	}
	e.CommitID = ce.attributes[hwCommit]
	if e.Time, err = ce.time(); err != nil {
		return e, err
	}
	if e.Time.IsZero() {
		return e, errors.New("attribute time is missing")
	}
	e.Metadata = ce.metadata()
	return e, nil
}

func (ce *cloudEvent) event() eventstore.EventData {
	return eventstore.EventData{Type: ce.attributes[ceType], ContentType: ce.attributes[ceContentType], Data: ce.data}
}

// stream returns the stream that the source of an exported event, which is
// /LOG/KIND/ID, and its subject name.
func (ce *cloudEvent) stream() (eventstore.StreamID, error) {
	id := ce.attributes[ceSubject]
	parts := strings.SplitN(ce.attributes[ceSource], "/", 4)
	if len(parts) < 4 || parts[0] != "" || parts[3] != url.PathEscape(id) {
		return eventstore.StreamID{}, fmt.Errorf("source %q is not /LOG/KIND/ID of subject %q", ce.attributes[ceSource], id)
	}
	return eventstore.StreamID{Kind: parts[2], ID: id}, nil
}

func (ce *cloudEvent) number(name string) (uint64, error) {
	n, err := strconv.ParseUint(ce.attributes[name], 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("attribute %s is %q and not a number from 1", name, ce.attributes[name])
	}
	return n, nil
}

// time returns when it happened, and the zero time if it does not say.
func (ce *cloudEvent) time() (time.Time, error) {
	text, ok := ce.attributes[ceTime]
	if !ok {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.IsZero() {
		return t, fmt.Errorf("attribute time is %q and not one such as 2026-01-02T03:04:05Z", text)
	}
	return t.UTC(), nil
}

// metadata returns the attributes that neither CloudEvents defines nor
// Headwater. Append refuses what cannot be kept.
func (ce *cloudEvent) metadata() map[string]string {
	var metadata map[string]string
	for name, value := range ce.attributes {
		switch name {
		case ceSpec, ceID, ceSource, ceType, ceSubject, ceTime, ceContentType,
			hwVersion, hwPosition, hwCommit, hwRecorded:
			continue
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[name] = value
	}
	return metadata
}
