package eventstore

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Reseal gives the messages of one stream, in their order, the digests that
// their content has, as a writer would that keeps to the form and is wrong in
// what it says.
func Reseal(t testing.TB, stream StreamID, messages []*nats.Msg) {
	t.Helper()
	var before digest
	for _, m := range messages {
		c, err := decode(stream, m.Header, m.Data, ^uint64(0), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		before = c.digestAfter(before)
		fields := strings.Split(m.Header.Get(hdrCommit), " ")
		fields[3] = before.String()
		m.Header.Set(hdrCommit, strings.Join(fields, " "))
	}
}

// What is not in the form that a writer gives a commit is not taken for one.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const single, several, first = "metadata", "mixed", "first"
	header := func(key string, values ...string) func(*nats.Msg) {
		return func(m *nats.Msg) {
			if delete(m.Header, key); values != nil {
				m.Header[key] = values
			}
		}
	}
	// field sets one of the five fields of the commit's place.
	field := func(i int, value string) func(*nats.Msg) {
		return func(m *nats.Msg) {
			fields := strings.Split(m.Header.Get(hdrCommit), " ")
			fields[i] = value
			m.Header.Set(hdrCommit, strings.Join(fields, " "))
		}
	}
	back := func(edit func(distances []string) []string) func(*nats.Msg) {
		return func(m *nats.Msg) {
			fields := strings.Split(m.Header.Get(hdrCommit), " ")
			field(4, strings.Join(edit(strings.Split(fields[4], ",")), ","))(m)
		}
	}
	replace := func(key, old, text string) func(*nats.Msg) {
		return func(m *nats.Msg) {
			if was := m.Header.Get(key); strings.Contains(was, old) {
				m.Header.Set(key, strings.Replace(was, old, text, 1))
			}
		}
	}
	both := func(edits ...func(*nats.Msg)) func(*nats.Msg) {
		return func(m *nats.Msg) {
			for _, edit := range edits {
				edit(m)
			}
		}
	}
	const noDigest = "AAAAAAAAAAAAAAAAAAAAAA" // of the right form
	for _, tt := range []struct {
		name, golden string
		edit         func(*nats.Msg)
	}{
		{"no place", single, header(hdrCommit)},
		{"two places", single, func(m *nats.Msg) { m.Header.Add(hdrCommit, m.Header.Get(hdrCommit)) }},
		{"a field too few", single, replace(hdrCommit, " ", "")},
		{"a field too many", single, func(m *nats.Msg) { m.Header.Set(hdrCommit, m.Header.Get(hdrCommit)+" -") }},
		{"another wire format", single, field(0, "2")},
		{"no guard", single, header(hdrGuard)},
		{"an empty guard", first, header(hdrGuard, "")},
		{"a guard that is no number", single, header(hdrGuard, "x")},
		{"a guard in another form", single, replace(hdrGuard, "", "0")},
		{"a first version that is no number", single, replace(hdrCommit, " 70-", " x-")},
		{"a last version that is no number", single, field(1, "70-")},
		{"a version in another form", single, field(1, "070-70")},
		{"a last version in another form", single, field(1, "70-070")},
		{"an ordinal in another form", single, field(2, "070")},
		{"an ordinal that is no number", single, field(2, "+70")},
		{"version 0", first, field(1, "0-0")},
		{"the last version before the first", single, field(1, "70-69")},
		{"more versions than events", single, field(1, "70-71")},
		{"fewer versions than events", several, field(1, "700-703")},
		{"ordinal 0", first, field(2, "0")},
		{"ordinal 0 of a later version", single, both(field(2, "0"), field(4, strings.Repeat("1,", len(ancestors(nil, 0))-2)+"1"))},
		{"an ordinal above the version", single, field(1, "69-69")},
		{"the first ordinal with a later version", first, field(1, "2-2")},
		{"a later ordinal with the first version", "bare", field(1, "1-1")},
		{"a digest that is too short", single, field(3, noDigest[1:])},
		{"a digest that is too long", single, field(3, noDigest+"AA")},
		{"a digest in another alphabet", single, field(3, "+"+noDigest[1:])},
		{"a digest in another form", single, field(3, noDigest[1:]+"B")},
		{"a first commit that follows one", first, header(hdrGuard, "5")},
		{"a first commit that names one", first, field(4, "1")},
		{"a later commit that follows none", "bare", header(hdrGuard, "0")},
		{"a later commit that follows a later one", single, header(hdrGuard, "4911")},
		{"a commit that follows itself", single, header(hdrGuard, "4910")},
		{"a distance that is no number", single, back(func(d []string) []string { d[3] = "!"; return d })},
		{"a distance of 0", single, back(func(d []string) []string { d[3] = "0"; return d })},
		{"a distance beyond the beginning", single, back(func(d []string) []string { d[len(d)-1] = "zzzz"; return d })},
		{"a distance to position 0", "bare", both(field(1, "3-3"), field(2, "3"), field(4, "b"))},
		{"a distance too few", single, back(func(d []string) []string { return d[1:] })},
		{"a distance too many", single, back(func(d []string) []string { return append(d, "1") })},
		{"no distances", single, field(4, "-")},

		{"no commit id", single, header(ceID)},
		{"an empty commit id", single, header(ceID, "")},
		{"two commit ids", single, header(ceID, "1", "2")},
		{"a commit id that is too long", single, header(ceID, strings.Repeat("x", maxName+1))},
		{"a commit id with a control character", single, header(ceID, "%0A")},
		{"a malformed escape", single, header("ce-user", "%4")},
		{"an escape of no UTF-8", single, header("ce-user", "%FF")},
		{"no time", single, header(ceTime)},
		{"a time that is none", single, header(ceTime, "yesterday")},
		{"a time in another zone", single, header(ceTime, "2025-03-14T15:09:26+01:00")},
		{"a time in another form", single, header(ceTime, "2025-03-14T15:09:26.500Z")},
		{"the id of another stream", single, header(ceSubject, "other")},

		{"no type", single, header(ceType)},
		{"an empty type", single, header(ceType, "")},
		{"a malformed type", single, header(ceType, "%")},
		{"no CloudEvents version", single, header(ceSpecVersion)},
		{"another CloudEvents version", single, header(ceSpecVersion, "2.0")},
		{"a malformed content type", single, header(ceContentType, "%")},
		{"a malformed content type of several", several, header(ceContentType, "%")},
		{"no parts", several, header(hdrEvents)},
		{"two lists of parts", several, func(m *nats.Msg) { m.Header.Add(hdrEvents, m.Header.Get(hdrEvents)) }},
		{"a part too few", several, both(replace(hdrEvents, " 3;b;c%20d;text/plain", ""), field(1, "700-703"))},
		{"a part too many", several, both(func(m *nats.Msg) { m.Header.Set(hdrEvents, m.Header.Get(hdrEvents)+" 0") }, field(1, "700-705"))},
		{"a length that is no number", several, replace(hdrEvents, "0;a", "x;a")},
		{"a length in another form", several, replace(hdrEvents, "0;a", "00;a")},
		{"a length beyond the body", several, replace(hdrEvents, " 3;", " 4;")},
		{"a length that ends before the body", several, replace(hdrEvents, " 3;", " 2;")},
		{"a length that ends elsewhere", several, replace(hdrEvents, " 8;", " 7;")},
		{"a first part without type", several, replace(hdrEvents, "0;a", "0")},
		{"a part with a malformed type", several, replace(hdrEvents, "0;a", "0;%FF")},
		{"a part with a malformed content type", several, replace(hdrEvents, "text/plain", "%")},
		{"a body that is too long", several, func(m *nats.Msg) { m.Data = append(m.Data, '\n') }},
		{"a body that is too short", several, func(m *nats.Msg) { m.Data = m.Data[:len(m.Data)-1] }},
		{"no line feed between events", several, func(m *nats.Msg) { m.Data[0] = ' ' }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			position := goldenCommits()[tt.golden].position
			m := parseWireText(t, readGolden(t, tt.golden, nil))
			was := wireText(m)
			if _, err := decodeSubject(m.Subject, m.Header, m.Data, position, time.Time{}); err != nil {
				t.Fatal(err)
			}
			tt.edit(m)
			if bytes.Equal(wireText(m), was) {
				t.Fatal("the message is as it was")
			}
			if c, err := decodeSubject(m.Subject, m.Header, m.Data, position, time.Time{}); err == nil {
				t.Errorf("it is taken for commit %+v", c)
			}
		})
	}
}
