package eventstore

import (
	"strings"
	"unicode/utf8"
)

// StreamID names the stream of one aggregate: its kind, such as "order", and
// its id among those of its kind.
//
// A kind is 1 to 64 letters, digits, '-' and '_'. An id is any non-empty UTF-8
// text without control characters whose subject fits the limit of 255 bytes;
// two ids are the same stream only if they are the same bytes.
type StreamID struct {
	Kind string
	ID   string
}

// String returns "kind/id". Since a kind has no '/', the first one separates.
func (s StreamID) String() string { return s.Kind + "/" + s.ID }

const (
	maxSubject = 255 // bytes; an over-long subject costs every writer the connection
	maxName    = 255 // bytes of a commit id, an event type, a content type
)

// subject returns the literal NATS subject of stream in log, or an
// InvalidError.
func subject(log string, stream StreamID) (string, error) {
	if err := checkToken("stream kind", stream.Kind); err != nil {
		return "", err
	}
	if err := checkText("stream id", stream.ID); err != nil {
		return "", err
	}
	subj := log + "." + stream.Kind + "." + inSubject.escape(stream.ID)
	if len(subj) > maxSubject {
		return "", &InvalidError{What: "stream id", Value: stream.ID, Reason: "its subject would be over 255 bytes; use a shorter id"}
	}
	return subj, nil
}

// parseSubject is the inverse of subject. It accepts only what subject makes,
// so that one stream never has two subjects.
func parseSubject(log, subj string) (StreamID, bool) {
	rest, ok := strings.CutPrefix(subj, log+".")
	if !ok {
		return StreamID{}, false
	}
	kind, escaped, ok := strings.Cut(rest, ".")
	if !ok {
		return StreamID{}, false
	}
	id, ok := unescape(escaped)
	if !ok {
		return StreamID{}, false
	}
	stream := StreamID{Kind: kind, ID: id}
	again, err := subject(log, stream)
	return stream, err == nil && again == subj
}

// checkToken refuses what is not plainly one subject token.
func checkToken(what, s string) error {
	if s == "" || len(s) > 64 {
		return &InvalidError{What: what, Value: s, Reason: "must have 1 to 64 characters"}
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return &InvalidError{What: what, Value: s, Reason: "may have only letters, digits, '-' and '_'"}
		}
	}
	return nil
}

// checkLogName refuses what begins other subjects than those of a log.
func checkLogName(log string) error {
	const what = "log name"
	if strings.HasPrefix(log, "_") {
		return &InvalidError{What: what, Value: log, Reason: "must not begin with '_', as the subjects do on which clients get answers"}
	}
	if log+"." == livePrefix || log == "timers" {
		return &InvalidError{What: what, Value: log, Reason: "begins the subjects of something else: of live feeds, or of timers"}
	}
	return checkToken(what, log)
}

// checkText refuses what CloudEvents does not allow in an attribute: anything
// but UTF-8 without control characters.
func checkText(what, s string) error {
	if s == "" {
		return &InvalidError{What: what, Reason: "must not be empty"}
	}
	return checkCharacters(what, s)
}

// checkName is checkText for names that someone chose once and that stand on
// every commit.
func checkName(what, s string) error {
	if len(s) > maxName {
		return &InvalidError{What: what, Value: s, Reason: "is over 255 bytes"}
	}
	return checkText(what, s)
}

func checkCharacters(what, s string) error {
	if isPlainASCII(s) {
		return nil
	}
	if !utf8.ValidString(s) {
		return &InvalidError{What: what, Value: s, Reason: "is not valid UTF-8"}
	}
	for _, r := range s {
		if r < 0x20 || 0x7f <= r && r <= 0x9f || isNoncharacter(r) {
			return &InvalidError{What: what, Value: s, Reason: "has a control character or a noncharacter"}
		}
	}
	return nil
}

func isPlainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isNoncharacter reports the code points that Unicode sets aside for ever and
// CloudEvents forbids.
func isNoncharacter(r rune) bool {
	return 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// A charset tells which bytes stand for themselves.
type charset [256]bool

// plain returns the printable ASCII characters without '%' and the given ones.
func plain(special string) *charset {
	var set charset
	for c := '!'; c <= '~'; c++ {
		set[c] = c != '%' && !strings.ContainsRune(special, c)
	}
	return &set
}

var (
	// In a subject token all that has a meaning in subjects is escaped.
	inSubject = plain(".*>")
	// In a header value, what the CloudEvents binding for NATS says.
	inHeader = plain("\"")
	// In the list of a commit's events, the separator too.
	inList = plain("\";")
)

// escape writes the bytes that are not in the set as %XX.
func (set *charset) escape(s string) string {
	n := 0
	for i := range len(s) {
		if !set[s[i]] {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; set[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape undoes escape. It fails where a '%' is not followed by two
// hexadecimal digits or the result is not UTF-8.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, utf8.ValidString(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		if !ok1 || !ok2 {
			return "", false
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), utf8.Valid(b)
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
