package service_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

// Whatever a request has, it is an InvalidError or means what a client can say.
func FuzzRequest(f *testing.F) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f.Add("front", "pay-1", "ann", parent, "a=1", "1000", "17", "3", []byte(`{"Amount":1}`))
	f.Add("a%20b", "%0d%0a", "%", parent[1:], "\x00", "-1", "AQ", "0", []byte(`{"Amount":"1"}{`))
	f.Add("", "", "", "", "", "", "", "", []byte(nil))
	f.Fuzz(func(t *testing.T, id, commandID, user, parent, state, timeout, notBefore, version string, body []byte) {
		h := nats.Header{}
		for name, value := range map[string]string{
			"Hw-Aggregate-Id": id, "Hw-Command-Id": commandID, "Hw-User": user, "traceparent": parent,
			"tracestate": state, "Hw-Timeout-Ms": timeout, "Hw-Not-Before": notBefore, "Hw-Version": version,
		} {
			h[name] = []string{value}
		}
		var command Pay
		gotID, got, said, err := service.DecodeRequest(h, body, &command)
		if err != nil {
			if !errors.Is(err, eventstore.ErrInvalid) || len(err.Error()) > 2000 {
				t.Fatalf("got %v", err)
			}
			return
		}
		again, err := service.EncodeTarget(gotID, got.CommandID, said)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Hw-Timeout-Ms", "Hw-Not-Before", "Hw-Version"} {
			again[name] = h[name]
		}
		id2, got2, said2, err := service.DecodeRequest(again, body, &command)
		if err != nil || id2 != gotID || got2.CommandID != got.CommandID || got2.Version != got.Version || !maps.Equal(said, said2) {
			t.Fatalf("%q %+v %q came back as %q %+v %q: %v", gotID, got, said, id2, got2, said2, err)
		}
	})
}

// Whatever a service answers, the client has an error of a line or two.
func FuzzAnswer(f *testing.F) {
	stream := eventstore.StreamID{Kind: "till", ID: "front"}
	for _, err := range []error{
		errShort, service.ErrNotFound, errors.New("a secret"),
		&eventstore.ConflictError{Stream: stream, Expected: eventstore.Version(1), Actual: 2},
		&eventstore.InvalidError{What: "a", Value: "b", Reason: "c"},
		&eventstore.TooLargeError{Stream: stream, What: "message", Size: 2, Limit: 1},
		&eventstore.UnknownOutcomeError{Stream: stream, CommitID: "x", Cause: errors.New("a secret")},
		&projection.BehindError{Projection: "book", Wanted: 2, At: 1, Err: errors.New("a secret")},
		&projection.ParkedError{Projection: "book", Parked: projection.Parked{Stream: stream}},
		&projection.StoppedError{Projection: "book", Stream: stream, Err: errors.New("a secret")},
	} {
		data, _, _ := service.EncodeFailure(err, tillErrors)
		f.Add(data)
	}
	f.Add([]byte(`{"error":"rejected","stream":{},"version":-1}`))
	f.Add([]byte(`{"version":1,"position":1,"commit_id":"x","revision":"AQEBAXgA"}`))
	f.Add([]byte(`{"revision":"AQAAAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := service.DecodeFailure(data, tillErrors)
		if err == nil {
			t.Fatal("an error is none")
		}
		if text := err.Error(); len(text) > 5000 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("got %q", text)
		}
		again, status, message := service.EncodeFailure(err, tillErrors)
		if status == "" || message == "" || len(again) > 10000 || strings.ContainsFunc(message, unicode.IsControl) {
			t.Fatalf("passed on as %q %q %q", status, message, again)
		}
		if at, _, err := service.DecodeDone(data); err != nil && at != (eventstore.Revision{}) {
			t.Fatalf("got %+v with %v", at, err)
		}
	})
}
