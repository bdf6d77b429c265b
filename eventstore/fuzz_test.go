package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Whatever stands in the log decodes to a commit or an error. A commit can be
// written again, and another one after it. The headers that decode reads are
// arguments of their own, where others are any lines.
func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommits() {
		subj, err := subject(goldenLog, c.stream)
		if err != nil {
			f.Fatal(err)
		}
		m := c.encode(goldenLog, subj, newHeaders())
		place, guard, when, typ := m.Header.Get(hdrCommit), m.Header.Get(hdrGuard), m.Header.Get(ceTime), m.Header.Get(ceType)
		f.Add(subj, place, guard, when, typ, m.Header.Get(hdrEvents), "ce-user: ann\nce-datacontenttype: text/plain", m.Data, c.position)
		f.Add(subj, place, guard, "0000-01-01T00:00:00+01:00", typ, m.Header.Get(hdrEvents), "ce-: %0A", m.Data, c.position)
		f.Add(subj, place, guard, "9999-12-31T23:59:59.9-01:00", typ, m.Header.Get(hdrEvents), "ce-id: again", m.Data, c.position)
	}
	f.Fuzz(func(t *testing.T, subj, place, guard, when, typ, parts, others string, data []byte, position uint64) {
		lines := []string{hdrCommit + ": " + place, hdrGuard + ": " + guard, ceID + ": 1", ceTime + ": " + when}
		if typ != "" {
			lines = append(lines, ceSpecVersion+": 1.0", ceType+": "+typ)
		}
		if parts != "" {
			lines = append(lines, hdrEvents+": "+parts)
		}
		wire := "NATS/1.0\n" + strings.Join(lines, "\n") + "\n" + others + "\n\n"
		h, err := nats.DecodeHeadersMsg([]byte(strings.ReplaceAll(wire, "\n", "\r\n")))
		if err != nil {
			return
		}
		c, err := decodeSubject(subj, h, data, position, time.Unix(1, 2))
		if err != nil {
			return
		}
		wantEncodable(t, c, subj)
		head, at, err := decodeHead(c.stream, &stored{header: h, position: position})
		if err != nil || !at.Equal(c.time) || !reflect.DeepEqual(head, c.mark()) {
			t.Fatalf("by its headers alone it is %+v at %v, %v; and it is %+v", head, at, err, c.mark())
		}
		if c.last() < ^uint64(0) {
			next := &commit{stream: c.stream, id: "next", time: c.time, events: []EventData{{Type: "next"}}}
			next.follow(c.mark())
			if why := follows(c.mark(), next); why != "" {
				t.Fatal(why)
			}
		}
	})
}

// Whatever comes on a live feed is taken for the commit that its headers say, or is
// an error, or was missed.
func FuzzLive(f *testing.F) {
	for _, c := range goldenCommits() {
		subj, err := subject(goldenLog, c.stream)
		if err != nil {
			f.Fatal(err)
		}
		m := c.encode(goldenLog, subj, newHeaders())
		var stored []string
		for key, values := range m.Header {
			stored = append(stored, key+": "+values[0])
		}
		server := fmt.Sprintf("Nats-Stream: %s\nNats-Subject: %s\nNats-Sequence: %d\nNats-Time-Stamp: 2026-01-02T03:04:05.6Z\nNats-Last-Sequence: %d", goldenLog, subj, c.position, c.previous())
		f.Add("live."+subj, strings.Join(stored, "\n"), server, m.Data, uint64(0))
		f.Add("live."+subj, strings.Join(stored, "\n"), server, m.Data, c.position-1)
		f.Add(subj, server, server, m.Data, c.position)
	}
	f.Fuzz(func(t *testing.T, subj, headers, server string, data []byte, last uint64) {
		wire := "NATS/1.0\n" + headers + "\n" + server + "\n\n"
		h, err := nats.DecodeHeadersMsg([]byte(strings.ReplaceAll(wire, "\n", "\r\n")))
		if err != nil {
			return
		}
		feed := feed{log: goldenLog, last: last, known: last > 0}
		c, err := feed.commit(&nats.Msg{Subject: subj, Header: h, Data: data})
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMissed):
			t.Fatal(err)
		case c == nil:
			return
		}
		own, err := subject(goldenLog, c.stream)
		if err != nil || subj != "live."+own || c.position <= c.previous() || last > 0 && c.position != last+1 {
			t.Fatalf("%s after %d is taken for %+v, %v", subj, last, c, err)
		}
		c.logName = "" // which decode leaves out
		wantEncodable(t, c, own)
	})
}

// Whatever is taken for a revision has one form, can be written again, and a
// commit can follow it.
func FuzzRevision(f *testing.F) {
	at := mark{}
	for i := range uint64(70) {
		c := &commit{stream: StreamID{"order", "größer"}, id: "id", events: make([]EventData, i%3+1)}
		c.follow(at)
		c.position = at.position + i*i + 1
		at = c.mark()
		form, _ := at.revision("5a9c", c.stream).MarshalBinary()
		f.Add(form)
	}
	f.Add([]byte{1, 3, 9, 1, 'x', 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Revision
		if err := r.UnmarshalBinary(data); err != nil {
			return
		}
		if again, err := r.MarshalBinary(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x is written again as %x, %v", data, again, err)
		}
		if r.of == nil || r.Version == ^uint64(0) {
			return
		}
		c := &commit{stream: r.of.stream, id: "next", events: make([]EventData, 1)}
		if c.follow(r.of.mark); c.previous() != r.Position || follows(r.of.mark, c) != "" {
			t.Fatalf("%+v does not follow %+v", c, r.of.mark)
		}
	})
}

// A high-water mark is read as it was written, and nothing else is one.
func FuzzParseNote(f *testing.F) {
	var sound bytes.Buffer
	(&note{log: "5a9c", position: 7, subject: "shop.order.42", id: "größer 100%", digest: digest{1}}).write(&sound)
	f.Add(sound.String(), "5a9c", uint64(7), "42", "größer 100%", []byte{1})
	f.Fuzz(func(t *testing.T, text, log string, position uint64, id, commit string, sum []byte) {
		if n, err := parseNote(text); err == nil {
			var again bytes.Buffer
			if n.write(&again); again.String() != text {
				t.Errorf("%q is read as %+v, which is written as %q", text, n, again.String())
			}
		}
		subj, err := subject("shop", StreamID{Kind: "order", ID: id})
		if err != nil || checkName("commit id", commit) != nil || strings.Contains(log, "\n") {
			return
		}
		n := &note{log: log, position: position, subject: subj, id: commit}
		copy(n.digest[:], sum)
		var b bytes.Buffer
		n.write(&b)
		if len(log) < 200 && b.Len() != noteSize {
			t.Errorf("a note of %d bytes", b.Len())
		}
		if back, err := parseNote(b.String()); err != nil || *back != *n {
			t.Errorf("%+v is read as %+v, %v", n, back, err)
		}
	})
}

// decodeSubject decodes a message for whatever stream its subject names.
func decodeSubject(subj string, h nats.Header, data []byte, position uint64, recorded time.Time) (*commit, error) {
	stream, ok := parseSubject(goldenLog, subj)
	if !ok {
		return nil, errors.New("the subject names no stream")
	}
	return decode(stream, h, data, position, recorded)
}

// wantEncodable checks that a decoded commit survives another round.
func wantEncodable(t *testing.T, c *commit, subj string) {
	again := c.encode(goldenLog, subj, newHeaders())
	for key, values := range again.Header {
		for _, v := range values {
			if strings.ContainsAny(key+v, "\r\n") {
				t.Fatalf("header %q: %q is several", key, v)
			}
		}
	}
	back, err := decodeSubject(subj, again.Header, again.Data, c.position, c.recorded)
	if err != nil {
		t.Fatalf("encoded again it is refused: %v\n%s", err, wireText(again))
	}
	if why := differ(c, back); why != "" {
		t.Fatalf("encoded again it is another: %s", why)
	}
	if !bytes.Equal(wireText(again), wireText(back.encode(goldenLog, subj, newHeaders()))) {
		t.Fatal("encoded twice, it differs")
	}
}

// A subject and a stream are two forms of one thing, and the subject is one
// that the server takes literally.
func FuzzSubject(f *testing.F) {
	for _, id := range []string{"42", "a.b", "*", ">", "%2E", "ü", " ", "\n", "", "\xff"} {
		f.Add("order", id, "shop.order."+id)
	}
	f.Fuzz(func(t *testing.T, kind, id, text string) {
		stream := StreamID{Kind: kind, ID: id}
		if subj, err := subject("shop", stream); err == nil {
			if back, ok := parseSubject("shop", subj); !ok || back != stream {
				t.Errorf("%q has the subject %q, which is %q", stream, subj, back)
			}
			if len(subj) > 255 || strings.Count(subj, ".") != 2 || strings.ContainsAny(subj, "*> ") {
				t.Errorf("%q has the subject %q", stream, subj)
			}
			for i := range len(subj) {
				if subj[i] <= ' ' || subj[i] >= 0x7f {
					t.Errorf("%q has the subject %q", stream, subj)
				}
			}
		}
		if stream, ok := parseSubject("shop", text); ok {
			if subj, err := subject("shop", stream); err != nil || subj != text {
				t.Errorf("the subject %q is %q, whose subject is %q, %v", text, stream, subj, err)
			}
		}
	})
}

// Every UTF-8 text survives its escaped form, which is printable ASCII.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "plain", "a b", "%", "%41", "%4", "%zz", "ü", "\"", "\x00", "\xff", "%FF", "%c3%bc", "a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for special, set := range map[string]*charset{".*>": inSubject, "\"": inHeader, ";\"": inList} {
			escaped := set.escape(s)
			back, ok := unescape(escaped)
			if ok != utf8.ValidString(s) || ok && back != s {
				t.Errorf("%q escaped is %q, and that is %q, %v", s, escaped, back, ok)
			}
			for i := range len(escaped) {
				if c := escaped[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(special, c) >= 0 {
					t.Errorf("%q escaped is %q", s, escaped)
				}
			}
		}
		if plain, ok := unescape(s); ok {
			if back, ok := unescape(inHeader.escape(plain)); !ok || back != plain {
				t.Errorf("%q is %q, and that again %q", s, plain, back)
			}
		} else if plain != "" && utf8.ValidString(plain) {
			t.Errorf("%q is refused, with the value %q", s, plain)
		}
	})
}

// An ack is read as encoding/json reads it.
func FuzzParseAck(f *testing.F) {
	for _, s := range []string{
		`{"stream":"shop","seq":42}`, `{"stream":"shop", "seq":42}`, `{"stream":"shop","seq": 42}`, `{"stream":"shop","seq":42,"duplicate":true}`,
		`{"stream":"shop","domain":"hub","seq":1}`, `{"stream":"shop","seq":0}`, `{"stream":"a\u0062","seq":1}`, `{"stream":"shop","seq":042}`,
		`{"stream":"shop","seq":18446744073709551615}`, `{"stream":"shop","seq":18446744073709551616}`, `{"stream":"shop","seq":1}}`,
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"},"stream":"shop","seq":0}`, `{}`, `null`, ``, `{"seq":-1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseAck(data)
		var want ack
		plain := json.Unmarshal(data, &want)
		if plain == nil && want.Error == nil && want.Sequence == 0 {
			plain = errForeign // it acknowledges nothing
		}
		if plain != nil {
			// The fast way may take a name that JSON does not; no log has it.
			if err == nil && checkToken("log name", got.Stream) == nil {
				t.Errorf("%q is read as %+v, and JSON says %v", data, got, plain)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q is refused: %v", data, err)
		}
		if got.Error != nil && want.Error != nil && *got.Error == *want.Error {
			got.Error = want.Error
		}
		if utf8.Valid(data) && got != want {
			t.Errorf("%q is read as %+v, and by JSON as %+v", data, got, want)
		}
	})
}
