package eventstore

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The wire format: docs/design.md describes it for readers in other languages
// and is the reference. Logs live for decades, so what encode writes, decode
// must read for ever.
const (
	hdrCommit = "Hw-Commit" // format, versions, ordinal, digest, positions
	hdrEvents = "Hw-Events" // the parts of a commit of several events

	hdrMsgID = nats.MsgIdHdr
	hdrGuard = nats.ExpectedLastSubjSeqHdr

	ceSpecVersion = "ce-specversion"
	ceID          = "ce-id"
	ceType        = "ce-type"
	ceSource      = "ce-source"
	ceSubject     = "ce-subject"
	ceTime        = "ce-time"
	ceContentType = "ce-datacontenttype"
	cePrefix      = "ce-"

	wireFormat = "1"
	maxHeaders = 1<<16 - 1 // bytes of headers that JetStream stores
)

// encode makes the message of a commit that has its place in its stream. subj
// is the stream's subject, h takes the headers.
func (c *commit) encode(log, subj string, h *headers) *nats.Msg {
	h.set(hdrMsgID, messageID(subj, c.id))
	h.set(hdrGuard, strconv.FormatUint(c.previous(), 10))
	h.set(hdrCommit, c.place())
	h.set(ceID, inHeader.escape(c.id))
	h.set(ceSource, inHeader.escape(source(log, c.stream)))
	h.set(ceSubject, inHeader.escape(c.stream.ID))
	h.set(ceTime, c.time.Format(time.RFC3339Nano))
	for key, value := range c.metadata {
		h.set(cePrefix+key, inHeader.escape(value))
	}
	if ct := c.events[0].ContentType; ct != "" {
		h.set(ceContentType, inHeader.escape(ct))
	}
	msg := &nats.Msg{Subject: subj, Header: h.header}
	if len(c.events) == 1 {
		h.set(ceSpecVersion, "1.0")
		h.set(ceType, inHeader.escape(c.events[0].Type))
		msg.Data = c.events[0].Data
		return msg
	}
	// Without ce-specversion and ce-type no CloudEvents reader takes the
	// commit for one event.
	h.set(hdrEvents, c.parts())
	msg.Data = c.body()
	return msg
}

// headers are a message's headers, made to be used again: of all that an append
// does in memory, making a new map for them would take the longest.
type headers struct {
	header nats.Header
	values []string
}

var headersPool = sync.Pool{New: func() any { return &headers{header: make(nats.Header)} }}

func newHeaders() *headers { return headersPool.Get().(*headers) }

// free ends the use of the headers and of the messages that have them.
func (h *headers) free() {
	clear(h.header)
	clear(h.values)
	h.values = h.values[:0]
	headersPool.Put(h)
}

func (h *headers) set(key, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.header[key] = h.values[n-1 : n : n]
}

// messageID scopes a commit's id to its stream: JetStream deduplicates over
// the whole log, and an id used again elsewhere would be acknowledged as a
// duplicate and not stored.
func messageID(subj, id string) string {
	sum := sha256.Sum256([]byte(subj + "\n" + id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// source is the CloudEvents source: it names the stream, so that source and
// id together are unique.
func source(log string, stream StreamID) string {
	return "/" + log + "/" + stream.Kind + "/" + url.PathEscape(stream.ID)
}

// place is the commit header: "1 FIRST-LAST ORDINAL DIGEST BACK", where BACK
// holds the distances between the positions that the commit names, in base 36,
// from the guard on, or "-" where there are none.
func (c *commit) place() string {
	var buf [256]byte
	b := append(buf[:0], wireFormat+" "...)
	b = strconv.AppendUint(b, c.first, 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, c.last(), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, c.ordinal, 10)
	b = append(b, ' ')
	b = base64.RawURLEncoding.AppendEncode(b, c.digest[:])
	b = append(b, ' ')
	if len(c.back) < 2 {
		return string(append(b, '-'))
	}
	for i := 1; i < len(c.back); i++ {
		if i > 1 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, c.back[i-1]-c.back[i], 36)
	}
	return string(b)
}

// parts is the events header: for each event "LENGTH;TYPE;CONTENT-TYPE", with
// a space between events, and what is the same as for the event before left
// out.
func (c *commit) parts() string {
	b := make([]byte, 0, 32*len(c.events))
	before := EventData{ContentType: c.events[0].ContentType}
	for i, e := range c.events {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(len(e.Data)), 10)
		if e.Type != before.Type || e.ContentType != before.ContentType {
			b = append(b, ';')
			b = append(b, inList.escape(e.Type)...)
		}
		if e.ContentType != before.ContentType {
			b = append(b, ';')
			b = append(b, inList.escape(e.ContentType)...)
		}
		before = e
	}
	return string(b)
}

// body is the payloads one after another, a line feed between them, so that
// text payloads stand a line each.
func (c *commit) body() []byte {
	n := len(c.events) - 1
	for _, e := range c.events {
		n += len(e.Data)
	}
	b := make([]byte, 0, n)
	for i, e := range c.events {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, e.Data...)
	}
	return b
}

// headerSize is what a message's headers take on the wire, in bytes.
func headerSize(h nats.Header) int {
	n := len("NATS/1.0\r\n\r\n")
	for key, values := range h {
		for _, v := range values {
			n += len(key) + len(v) + len(": \r\n")
		}
	}
	return n
}
