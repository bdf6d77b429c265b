package eventstore

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// errForeign is the reason for a message that no Headwater writer made.
var errForeign = errors.New("the message is not a commit: something other than this engine wrote to the stream's subject")

// decode reads a stored message of a stream. It checks the form of everything
// it reads; that the digest is right is for whoever knows the predecessor.
func decode(stream StreamID, h nats.Header, data []byte, position uint64, recorded time.Time) (*commit, error) {
	place, ok := one(h, hdrCommit)
	if !ok {
		return nil, errForeign
	}
	c := &commit{stream: stream, position: position, recorded: recorded.UTC()}
	last, err := c.decodePlace(place, h)
	if err != nil {
		return nil, err
	}
	if err := c.decodeAttributes(h); err != nil {
		return nil, err
	}
	if err := c.decodeEvents(h, data); err != nil {
		return nil, err
	}
	if c.last() != last {
		return nil, fmt.Errorf("holds %d events and says versions %d to %d", len(c.events), c.first, last)
	}
	return c, nil
}

// decodeHead reads what a stored message says of its stream after it, of which
// the headers are enough.
func decodeHead(stream StreamID, m *stored) (mark, time.Time, error) {
	place, ok := one(m.header, hdrCommit)
	if !ok {
		return mark{}, time.Time{}, errForeign
	}
	c := &commit{stream: stream, position: m.position}
	last, err := c.decodePlace(place, m.header)
	if err == nil {
		err = c.decodeAttributes(m.header)
	}
	return mark{version: last, position: c.position, id: c.id, ordinal: c.ordinal, digest: c.digest, back: c.back}, c.time, err
}

func (c *commit) decodePlace(place string, h nats.Header) (last uint64, err error) {
	var f [5]string
	for i := range f {
		var more bool
		if f[i], place, more = strings.Cut(place, " "); more != (i < len(f)-1) {
			return 0, fmt.Errorf("header %s is malformed", hdrCommit)
		}
	}
	if f[0] != wireFormat {
		return 0, fmt.Errorf("wire format %s is not known to this version of the library", clip(f[0]))
	}
	first, lastText, _ := strings.Cut(f[1], "-")
	guard, err0 := parseNumber(h.Get(hdrGuard))
	var err1, err2, err3 error
	c.first, err1 = parseNumber(first)
	last, err2 = parseNumber(lastText)
	c.ordinal, err3 = parseNumber(f[2])
	if err := cmp.Or(err0, err1, err2, err3); err != nil {
		return 0, fmt.Errorf("header %s or the guard is malformed: %w", hdrCommit, err)
	}
	if c.first == 0 || last < c.first || c.ordinal == 0 || c.ordinal > c.first || (c.ordinal == 1) != (c.first == 1) {
		return 0, fmt.Errorf("versions %d to %d cannot be commit number %d", c.first, last, c.ordinal)
	}
	if c.digest, err = parseDigest(f[3]); err != nil {
		return 0, err
	}
	c.back, err = decodeBack(c.ordinal, guard, f[4])
	if err == nil && guard >= c.position {
		err = errors.New("the commit says it follows a later one")
	}
	return last, err
}

func decodeBack(ordinal, guard uint64, text string) ([]uint64, error) {
	if ordinal == 1 {
		if guard != 0 || text != "-" {
			return nil, errors.New("the stream's first commit names an earlier one")
		}
		return nil, nil
	}
	var buf [maxAncestors]uint64
	named := len(ancestors(buf[:0], ordinal))
	back := make([]uint64, 1, named)
	back[0] = guard
	if text != "-" {
		for field := range strings.SplitSeq(text, ",") {
			d, err := strconv.ParseUint(field, 36, 64)
			if err != nil || d == 0 || d >= back[len(back)-1] || len(back) == named {
				return nil, errors.New("the named positions are malformed")
			}
			back = append(back, back[len(back)-1]-d)
		}
	}
	if len(back) != named || guard == 0 {
		return nil, errors.New("the named positions are incomplete")
	}
	return back, nil
}

func (c *commit) decodeAttributes(h nats.Header) error {
	for key, values := range h {
		name, ok := strings.CutPrefix(key, cePrefix)
		if !ok {
			continue
		}
		if len(values) != 1 {
			return fmt.Errorf("header %s is there %d times", clip(key), len(values))
		}
		value, ok := unescape(values[0])
		if !ok {
			return fmt.Errorf("header %s is malformed", clip(key))
		}
		var err error
		switch key {
		case ceID:
			c.id, err = value, checkName("commit id", value)
		case ceTime:
			c.time, err = time.Parse(time.RFC3339Nano, value)
			c.time = c.time.UTC()
			if err == nil && c.time.Format(time.RFC3339Nano) != value {
				err = fmt.Errorf("ce-time %s is not in the form of a writer", clip(value))
			}
		case ceSubject:
			if value != c.stream.ID {
				err = fmt.Errorf("ce-subject says stream id %s", clip(value))
			}
		case ceSpecVersion, ceType, ceContentType, ceSource:
			// The events' own; and the source only repeats the subject.
		default:
			if c.metadata == nil {
				c.metadata = make(map[string]string)
			}
			c.metadata[name], err = value, checkMetadataKey(name)
		}
		if err != nil {
			return err
		}
	}
	if c.id == "" || c.time.IsZero() && h.Get(ceTime) == "" {
		return errors.New("the commit has no id or no time")
	}
	return nil
}

func (c *commit) decodeEvents(h nats.Header, data []byte) error {
	contentType, ok := unescape(h.Get(ceContentType))
	if !ok {
		return errors.New("the content type is malformed")
	}
	parts, several := one(h, hdrEvents)
	if !several {
		typ, ok := unescape(h.Get(ceType))
		if !ok || typ == "" || h.Get(ceSpecVersion) != "1.0" {
			return errors.New("the event's type is missing or malformed")
		}
		c.events = []EventData{{Type: typ, ContentType: contentType, Data: data}}
		return nil
	}
	c.events = make([]EventData, 0, strings.Count(parts, " ")+1)
	before := EventData{ContentType: contentType}
	for part := range strings.SplitSeq(parts, " ") {
		if len(c.events) > 0 {
			if len(data) == 0 || data[0] != '\n' {
				return errors.New("the events do not fit the body")
			}
			data = data[1:]
		}
		e, rest, err := decodePart(part, before, data)
		if err != nil {
			return err
		}
		c.events = append(c.events, e)
		before, data = e, rest
	}
	if len(data) > 0 {
		return errors.New("the body is longer than its events")
	}
	return nil
}

func decodePart(part string, before EventData, data []byte) (e EventData, rest []byte, err error) {
	length, names, named := strings.Cut(part, ";")
	n, err := parseNumber(length)
	if err != nil || n > uint64(len(data)) {
		return e, nil, errors.New("the events do not fit the body")
	}
	e = before
	if named {
		typ, contentType, other := strings.Cut(names, ";")
		ok, ok2 := true, true
		e.Type, ok = unescape(typ)
		if other {
			e.ContentType, ok2 = unescape(contentType)
		}
		if !ok || !ok2 {
			return e, nil, errors.New("an event's type is malformed")
		}
	}
	if e.Type == "" {
		return e, nil, errors.New("an event has no type")
	}
	e.Data = data[:n:n]
	return e, data[n:], nil
}

// one returns a header that must stand once; a second one is a forgery.
func one(h nats.Header, key string) (string, bool) {
	if v := h[key]; len(v) == 1 {
		return v[0], true
	}
	return "", false
}

// parseNumber reads what strconv.AppendUint writes and nothing else, so that
// one number never has two forms.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && len(s) > 1 && s[0] == '0' {
		err = fmt.Errorf("%s is not a plain number", clip(s))
	}
	return n, err
}
