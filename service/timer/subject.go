package timer

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
)

// The parts of a stream: what is set, what is due, and what failed for good. Each
// message has a subject of its own, <prefix>.<part>.<id>.<revision>.
const (
	partSet  = "set"
	partDue  = "due"
	partDead = "dead"
)

const maxSubject = 255 // bytes

// A revision is one Set of a timer. It tells when the timer is due, and has a
// random part. With one subject for all Sets of an id the server would lose some:
// when a timer becomes due the server removes what the subject then has, which may
// be another Set already.
func revision(at time.Time) string {
	return fmt.Sprintf("%d-%016x", at.UnixNano(), rand.Uint64())
}

const cancelled = "cancelled-"

// cancellation is the revision of a Cancel.
func cancellation() string { return fmt.Sprintf("%s%016x", cancelled, rand.Uint64()) }

// isCancellation reports whether a subject is that of a Cancel.
func isCancellation(subject string) bool {
	return strings.HasPrefix(subject[strings.LastIndexByte(subject, '.')+1:], cancelled)
}

// dueAt returns when a timer is due by its revision.
func dueAt(revision string) (time.Time, bool) {
	nanos, random, ok := strings.Cut(revision, "-")
	n, err := strconv.ParseInt(nanos, 10, 64)
	if !ok || err != nil || len(random) != 16 || strconv.FormatInt(n, 10) != nanos {
		return time.Time{}, false
	}
	return time.Unix(0, n).UTC(), true
}

func (t *Timers) subject(part, id, revision string) string {
	return t.prefix + "." + part + "." + escape(id) + "." + revision
}

// parse is the inverse of subject. It accepts only what subject makes.
func (t *Timers) parse(part, subject string) (id, revision string, at time.Time, ok bool) {
	rest, ok := strings.CutPrefix(subject, t.prefix+"."+part+".")
	if !ok {
		return "", "", time.Time{}, false
	}
	escaped, revision, _ := strings.Cut(rest, ".")
	id, ok1 := unescape(escaped)
	at, ok2 := dueAt(revision)
	ok = ok1 && ok2 && id != "" && escape(id) == escaped
	return id, revision, at, ok
}

// checkID refuses an id that no subject can have.
func (t *Timers) checkID(id string) error {
	const longest = 19 + 1 + 16 // a revision
	switch {
	case id == "":
		return &eventstore.InvalidError{What: "timer id", Reason: "must not be empty"}
	case !utf8.ValidString(id):
		return &eventstore.InvalidError{What: "timer id", Value: id, Reason: "is not valid UTF-8"}
	case len(t.subject(partDead, id, ""))+longest > maxSubject:
		return &eventstore.InvalidError{What: "timer id", Value: id, Reason: "its subject would be over 255 bytes; use a shorter id"}
	}
	return nil
}

// plain reports the bytes that stand for themselves: the printable ASCII characters
// that mean nothing in a subject, or in a header.
func plain(c byte) bool {
	return '!' <= c && c <= '~' && c != '%' && c != '.' && c != '*' && c != '>'
}

// escape writes all other bytes as %XX.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape undoes escape.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), utf8.Valid(b)
}
