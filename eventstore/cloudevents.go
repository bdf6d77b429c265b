package eventstore

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The CloudEvents attributes that an event outside of its log has besides those
// that stand in the log, so that it still says where it belongs. Metadata keys
// do not begin as they do.
const (
	ceHeadwater = "hw"
	ceVersion   = ceHeadwater + "version"
	cePosition  = ceHeadwater + "position"
	ceCommit    = ceHeadwater + "commit"
	ceRecorded  = ceHeadwater + "recorded"
)

// MarshalJSON returns the event in the JSON event format of CloudEvents 1.0:
//
//	{"specversion":"1.0","id":"5a9c…","source":"/shop/order/42","type":"order.placed","subject":"42",
//	 "time":"2026-01-02T03:04:05Z","datacontenttype":"application/json",
//	 "hwversion":"1","hwposition":"7","hwcommit":"5a9c…","hwrecorded":"2026-01-02T03:04:05.6Z",
//	 "user":"ann","data":{"customer":"ann"}}
//
// Its metadata are extension attributes, and so are version, position (both as
// text, since an integer of CloudEvents has 32 bits), commit id and the time at
// which the log recorded it. Data of a JSON content type is there as JSON, of a
// text type as a string, and all else, including JSON with insignificant
// space, which would not come back byte for byte, as "data_base64". Empty data
// is left out. Called through json.Marshal, which escapes '<', '>' and '&', it
// gives the same event in other bytes. The error is always nil.
func (e Event) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	attribute := func(name, value string) {
		b.WriteByte(',')
		text(&b, name)
		b.WriteByte(':')
		text(&b, value)
	}
	b.WriteString(`{"specversion":"1.0"`)
	attribute("id", e.ID())
	attribute("source", e.source())
	attribute("type", e.Type)
	attribute("subject", e.Stream.ID)
	attribute("time", e.Time.UTC().Format(time.RFC3339Nano))
	if e.ContentType != "" {
		attribute("datacontenttype", e.ContentType)
	}
	attribute(ceVersion, strconv.FormatUint(e.Version, 10))
	attribute(cePosition, strconv.FormatUint(e.Position, 10))
	attribute(ceCommit, e.CommitID)
	if !e.Recorded.IsZero() {
		attribute(ceRecorded, e.Recorded.UTC().Format(time.RFC3339Nano))
	}
	for _, key := range slices.Sorted(maps.Keys(e.Metadata)) {
		attribute(key, e.Metadata[key])
	}
	e.appendData(&b)
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (e Event) appendData(b *bytes.Buffer) {
	if len(e.Data) == 0 {
		return
	}
	switch media, _, _ := mime.ParseMediaType(e.ContentType); {
	case media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"):
		var plain bytes.Buffer
		if json.Compact(&plain, e.Data) == nil && bytes.Equal(plain.Bytes(), e.Data) && utf8.Valid(e.Data) {
			b.WriteString(`,"data":`)
			b.Write(e.Data)
			return
		}
	case strings.HasPrefix(media, "text/") && utf8.Valid(e.Data):
		b.WriteString(`,"data":`)
		text(b, string(e.Data))
		return
	}
	b.WriteString(`,"data_base64":`)
	enc, _ := json.Marshal(e.Data) // a []byte cannot fail
	b.Write(enc)
}

// text writes a JSON string, in which only what must be is escaped.
func text(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)       // a string cannot fail
	b.Truncate(b.Len() - 1) // the encoder ends with a line feed
}

func (e Event) source() string {
	if e.commit == nil {
		return source("", e.Stream)
	}
	return source(e.commit.logName, e.Stream)
}
