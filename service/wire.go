package service

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

const (
	hdrAggregate = "Hw-Aggregate-Id"
	hdrCommand   = "Hw-Command-Id"
	hdrVersion   = "Hw-Version"
	hdrTimeout   = "Hw-Timeout-Ms"
	hdrNotBefore = "Hw-Not-Before"

	hdrCorrelation = "Hw-Correlation-Id"
	hdrCausation   = "Hw-Causation-Id"
	hdrUser        = "Hw-User"
)

const (
	maxValue    = 255  // bytes of a value in a header
	maxMetadata = 1024 // bytes of metadata; an event's name as a causation id has up to 600
)

// A request is one that a responder got.
type request struct {
	msg     *nats.Msg
	stream  eventstore.StreamID // of a command, once it is known
	largest int                 // bytes of an answer
	log     *slog.Logger
}

// target reads a command, its aggregate's id, and how it is to be executed.
func (r *request) target(command any) (id string, opts *aggregate.ExecuteOptions, err error) {
	if id, err = text(r.msg.Header, hdrAggregate); err != nil {
		return "", nil, err
	}
	if id == "" {
		return "", nil, &eventstore.InvalidError{What: "header " + hdrAggregate, Reason: "is missing"}
	}
	opts = &aggregate.ExecuteOptions{}
	if opts.CommandID, err = text(r.msg.Header, hdrCommand); err != nil {
		return "", nil, err
	}
	if opts.Version, err = version(r.msg.Header); err != nil {
		return "", nil, err
	}
	return id, opts, decodeStrictly(r.msg.Data, command)
}

// version returns the version that a command is for, 0 if it is for any.
func version(h nats.Header) (uint64, error) {
	value, err := single(h, hdrVersion)
	if err != nil || value == "" {
		return 0, err
	}
	v, err := strconv.ParseUint(value, 10, 64)
	if err != nil || v == 0 {
		return 0, &eventstore.InvalidError{What: "header " + hdrVersion, Value: clip(value, maxValue), Reason: "is not a version, a decimal number from 1 on"}
	}
	return v, nil
}

// timeout returns for how long whoever asks waits, at most a limit.
func timeout(h nats.Header, limit time.Duration) (time.Duration, error) {
	value, err := single(h, hdrTimeout)
	if err != nil || value == "" {
		return limit, err
	}
	ms, err := strconv.ParseUint(value, 10, 63)
	if err != nil || ms == 0 {
		return 0, &eventstore.InvalidError{What: "header " + hdrTimeout, Value: clip(value, maxValue), Reason: "is not a positive number of milliseconds"}
	}
	if ms >= uint64(limit.Milliseconds()) {
		return limit, nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// notBefore returns what a query is to wait for, if anything.
func (r *request) notBefore() (at eventstore.Revision, asked bool, err error) {
	value, err := single(r.msg.Header, hdrNotBefore)
	if err != nil || value == "" {
		return at, false, err
	}
	if position, err := strconv.ParseUint(value, 10, 64); err == nil {
		return eventstore.Revision{Position: position}, true, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(value)
	if err == nil {
		err = at.UnmarshalBinary(data)
	}
	if err != nil {
		return at, false, &eventstore.InvalidError{What: "header " + hdrNotBefore, Value: clip(value, maxValue), Reason: "is neither a position nor a revision"}
	}
	return at, true, nil
}

func encodeRevision(at eventstore.Revision) string {
	data, _ := at.MarshalBinary() // there is no error
	return base64.RawURLEncoding.EncodeToString(data)
}

// checkHeaders refuses headers that begin as ours and are none: to leave out a version
// that is spelled in other letters would be to execute the command on any.
func checkHeaders(h nats.Header) error {
	for name := range h {
		if len(name) >= len(hdrOurs) && strings.EqualFold(name[:len(hdrOurs)], hdrOurs) && !requestHeaders[name] {
			return &eventstore.InvalidError{What: "header", Value: clip(name, maxValue), Reason: "is none that a request has; its letters count"}
		}
	}
	return nil
}

const hdrOurs = "Hw-"

var requestHeaders = map[string]bool{
	hdrAggregate: true, hdrCommand: true, hdrVersion: true, hdrTimeout: true, hdrNotBefore: true,
	hdrCorrelation: true, hdrCausation: true, hdrUser: true,
}

// single returns the value of a header that is there once or not at all: of two,
// who checks one and who uses another would not see the same.
func single(h nats.Header, name string) (string, error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", &eventstore.InvalidError{What: "header " + name, Reason: "is there more than once"}
}

// text returns the text that a header holds, "" if it is not there.
func text(h nats.Header, name string) (string, error) { return longText(h, name, maxValue) }

func longText(h nats.Header, name string, most int) (string, error) {
	value, err := single(h, name)
	if err != nil || value == "" {
		return "", err
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", &eventstore.InvalidError{What: "header " + name, Value: clip(value, maxValue), Reason: "is not percent-encoded as a URL's path is"}
	}
	return decoded, checkText("header "+name, decoded, most)
}

// setText sets a header to a text, which may be empty.
func setText(h nats.Header, name, value string) error { return setLongText(h, name, value, maxValue) }

func setLongText(h nats.Header, name, value string, most int) error {
	if value == "" {
		return nil
	}
	h[name] = []string{url.PathEscape(value)}
	return checkText("header "+name, value, most)
}

func checkText(what, s string, most int) error {
	invalid := func(reason string) error {
		return &eventstore.InvalidError{What: what, Value: clip(s, maxValue), Reason: reason}
	}
	switch {
	case len(s) > most:
		return invalid(fmt.Sprintf("is over %d bytes", most))
	case !utf8.ValidString(s):
		return invalid("is not valid UTF-8")
	case strings.ContainsFunc(s, isControl):
		return invalid("has a control character")
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || 0x7f <= r && r <= 0x9f }

// checkWord refuses what is not plainly one token of a subject.
func checkWord(what, s string) error {
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) {
		return &eventstore.InvalidError{What: what, Value: s, Reason: "must be 1 to 64 letters, digits, '-' and '_'"}
	}
	return nil
}

// checkService refuses what is no name of a service, or begins other subjects. An
// answer could be sent to one that begins with '_', as a command.
func checkService(name string) error {
	if !isService(name) {
		return &eventstore.InvalidError{What: "service name", Value: name, Reason: serviceWanted}
	}
	return nil
}

const serviceWanted = "must be 1 to 64 letters, digits, '-' and '_', not begin with '_', and not be 'live' or 'timers'"

func isService(name string) bool {
	return checkWord("", name) == nil && name[0] != '_' && name != "live" && name != "timers"
}

// decodeStrictly reads JSON that is one value and has no field that v has not.
func decodeStrictly(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed(err)
	}
	if len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return malformed(errors.New("something follows it"))
	}
	return nil
}

// malformed says what is wrong with a request, without what only those know who
// have the program's text.
func malformed(err error) error {
	reason := "is not that of this request: " + clip(strings.TrimPrefix(err.Error(), "json: "), maxValue)
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		reason = "is empty"
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		reason = "is malformed: " + err.Error()
	case errors.As(err, &mistyped):
		reason = fmt.Sprintf("has the wrong type of value, a JSON %s, in field %q", clip(mistyped.Value, 32), clip(mistyped.Field, maxValue))
	}
	return &eventstore.InvalidError{What: "JSON of the request", Reason: reason}
}

// done is the answer to a command that was applied.
type done struct {
	Version  uint64          `json:"version"`
	Position uint64          `json:"position"`
	CommitID string          `json:"commit_id"`
	Replayed bool            `json:"replayed,omitempty"`
	Revision string          `json:"revision"`
	State    json.RawMessage `json:"state,omitempty"`
}

func newDone(at eventstore.Revision) done {
	return done{at.Version, at.Position, at.CommitID, at.Replayed, encodeRevision(at), nil}
}

func (d done) encode() []byte {
	data, err := json.Marshal(d)
	if err != nil {
		panic(err) // only the state could be wrong, and json made it
	}
	return data
}

// parseDone reads such an answer. What the revision says, nothing else needs to say.
func parseDone(data []byte) (at eventstore.Revision, state json.RawMessage, err error) {
	var d struct {
		Replayed bool            `json:"replayed"`
		Revision string          `json:"revision"`
		State    json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return at, nil, errors.New("the answer is not that to a command")
	}
	binary, err := base64.RawURLEncoding.DecodeString(d.Revision)
	if err == nil {
		err = at.UnmarshalBinary(binary)
	}
	if err != nil {
		return eventstore.Revision{}, nil, errors.New("the answer has no valid revision")
	}
	at.Replayed = d.Replayed
	return at, d.State, nil
}

// clip returns the text in one line of valid UTF-8, at most so many bytes and '…'.
func clip(s string, most int) string {
	long := len(s) > most
	if long {
		s = s[:most]
	}
	s = strings.Map(func(r rune) rune {
		if isControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if long {
		s += "…"
	}
	return s
}
