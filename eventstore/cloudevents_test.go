package eventstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var cloudEventItems = []item{
	{"a commit of one event is a CloudEvent", singleCloudEvent},
	{"a commit of several events is no CloudEvent, and each event can be made one", severalCloudEvents},
}

// ceMessage is a NATS message in the binary content mode of CloudEvents, for the
// CloudEvents SDK: attributes are headers with a prefix, percent-encoded, as
// the NATS protocol binding says.
type ceMessage struct{ *nats.Msg }

var ceSpecs = spec.WithPrefix("ce-")

func (m ceMessage) ReadEncoding() binding.Encoding {
	if ceSpecs.Version(m.Header.Get(ceSpecs.PrefixedSpecVersionName())) == nil {
		return binding.EncodingUnknown
	}
	return binding.EncodingBinary
}

func (m ceMessage) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m ceMessage) Finish(error) error { return nil }

func (m ceMessage) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	version := ceSpecs.Version(m.Header.Get(ceSpecs.PrefixedSpecVersionName()))
	if attribute := version.AttributeFromKind(kind); attribute != nil {
		return attribute, m.Header.Get(attribute.PrefixedName())
	}
	return nil, nil
}

func (m ceMessage) GetExtension(name string) any { return m.Header.Get("ce-" + name) }

func (m ceMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := ceSpecs.Version(m.Header.Get(ceSpecs.PrefixedSpecVersionName()))
	if version == nil {
		return binding.ErrNotBinary
	}
	for key, values := range m.Header {
		name, ok := strings.CutPrefix(key, "ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return err
		}
		if attribute := version.Attribute(key); attribute != nil {
			err = w.SetAttribute(attribute, value)
		} else {
			err = w.SetExtension(name, value)
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.Data))
}

// tricky are events whose attributes and data are hard to carry.
func tricky() []eventstore.EventData {
	return []eventstore.EventData{
		{Type: "order.placed", ContentType: "application/json", Data: []byte(`{"customer":"ann & <bob>"}`)},
		{Type: "with spaces, \"quotes\" and 100%", ContentType: "text/plain; charset=utf-8", Data: []byte("größer <&> \x00")},
		{Type: "größer", ContentType: "application/octet-stream", Data: []byte{0, 1, 0xff}},
		{Type: "loose.json", ContentType: "application/vnd.order+json", Data: []byte(`{ "spaces" : 1 }`)},
		{Type: "no.json", ContentType: "application/json", Data: []byte(`{`)},
		{Type: "nothing", ContentType: "application/json"},
		{Type: "no.content.type", Data: []byte("plain")},
	}
}

func trickyOptions(id string) *eventstore.AppendOptions {
	return &eventstore.AppendOptions{
		CommitID: id, Time: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Metadata: map[string]string{"user": "ann: \"größer\" 100%", eventstore.CorrelationID: "c", "empty": ""},
	}
}

// wantCloudEvent checks what the SDK made of an event.
func wantCloudEvent(t *testing.T, got *event.Event, e eventstore.Event, log string) {
	t.Helper()
	if err := got.Validate(); err != nil {
		t.Errorf("%s is not valid: %v", e.Type, err)
	}
	source := "/" + log + "/" + e.Stream.Kind + "/" + url.PathEscape(e.Stream.ID)
	if got.SpecVersion() != "1.0" || got.ID() != e.ID() || got.Source() != source || got.Type() != e.Type ||
		got.Subject() != e.Stream.ID || !got.Time().Equal(e.Time) || got.DataContentType() != e.ContentType {
		t.Errorf("%+v of %s became\n%s", e, source, got)
	}
	if !bytes.Equal(got.Data(), e.Data) {
		t.Errorf("the data of %s is %q, want %q", e.Type, got.Data(), e.Data)
	}
	for key, value := range e.Metadata {
		if got.Extensions()[key] != value {
			t.Errorf("%s has %s %q, want %q", e.Type, key, got.Extensions()[key], value)
		}
	}
}

// message returns what is stored at a position, from whichever replica has it
// first.
func (s site) message(t *testing.T, log string, position uint64) (m *jetstream.RawStreamMsg) {
	t.Helper()
	raw, err := s.jetStream(t).Stream(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is there", func() bool {
		m, err = raw.GetMsg(t.Context(), position)
		return err == nil
	})
	return m
}

func singleCloudEvent(t *testing.T, s site) {
	log := s.shared
	id := eventstore.StreamID{Kind: "order", ID: stream(t).ID + " é/%"}
	for i, data := range tricky() {
		at := add(t, log, id, eventstore.Any, []eventstore.EventData{data}, trickyOptions(fmt.Sprint("commit ", i)))
		all := read(t, log, id, &eventstore.ReadOptions{From: at.Version})
		m := s.message(t, log.Name(), at.Position)
		got, err := binding.ToEvent(t.Context(), ceMessage{&nats.Msg{Header: m.Header, Data: m.Data}})
		if err != nil {
			t.Fatalf("%s: %v", data.Type, err)
		}
		wantCloudEvent(t, got, all[0], log.Name())
	}
}

func severalCloudEvents(t *testing.T, s site) {
	log := s.shared
	id := stream(t)
	at := add(t, log, id, eventstore.NoStream, tricky(), trickyOptions("commit"))
	m := s.message(t, log.Name(), at.Position)
	if _, err := binding.ToEvent(t.Context(), ceMessage{&nats.Msg{Header: m.Header, Data: m.Data}}); !errors.Is(err, binding.ErrUnknownEncoding) {
		t.Errorf("the SDK takes a commit of several events for one event: %v", err)
	}
	for _, e := range history(t, log, id) {
		text, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var got event.Event
		if err := format.JSON.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v\n%s", e.Type, err, text)
		}
		wantCloudEvent(t, &got, e, log.Name())
		for key, want := range map[string]string{
			"hwversion": fmt.Sprint(e.Version), "hwposition": fmt.Sprint(e.Position), "hwcommit": e.CommitID,
			"hwrecorded": e.Recorded.Format(time.RFC3339Nano),
		} {
			if got.Extensions()[key] != want {
				t.Errorf("%s has %s %q, want %q", e.Type, key, got.Extensions()[key], want)
			}
		}
		// The general encoder keeps the meaning.
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(text, &a) != nil || json.Unmarshal(again, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s\nis not the same as\n%s", again, text)
		}
	}
}

// Whatever an event has, its CloudEvent is JSON, and the SDK reads the same
// from it.
func FuzzMarshalJSON(f *testing.F) {
	for _, e := range tricky() {
		f.Add("42", e.Type, e.ContentType, e.Data, "ann")
	}
	f.Fuzz(func(t *testing.T, id, typ, contentType string, data []byte, user string) {
		e := eventstore.Event{
			EventData: eventstore.EventData{Type: typ, ContentType: contentType, Data: data},
			Stream:    eventstore.StreamID{Kind: "order", ID: id}, Version: 1, Position: 2, CommitID: "3",
			Time: time.Unix(1, 2), Metadata: map[string]string{"user": user},
		}
		text, err := e.MarshalJSON()
		if err != nil || !json.Valid(text) || bytes.ContainsAny(text, "\n\r") && !bytes.ContainsAny(data, "\n\r") {
			t.Fatalf("%s: %v", text, err)
		}
		var got struct {
			Type, Subject, User string
			Data                json.RawMessage `json:"data"`
			Base64              []byte          `json:"data_base64"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
		if valid(got.Type) != valid(typ) && !strings.Contains(got.Type, "\ufffd") {
			t.Errorf("type %q became %q", typ, got.Type)
		}
		var back string
		switch {
		case len(data) == 0:
			return
		case got.Base64 != nil:
			back = string(got.Base64)
		case string(got.Data) == string(data):
			back = string(data)
		default:
			if err := json.Unmarshal(got.Data, &back); err != nil {
				t.Fatal(err)
			}
		}
		if back != string(data) {
			t.Errorf("data %q became %q", data, back)
		}
	})
}
