package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

type opened struct {
	Owner string
	Tags  map[string]int `json:"tags,omitempty"`
}

type closed struct{}

type strange struct{ F func() }

type sealed interface {
	eventstore.Typed
	isTest()
}

func (opened) EventType() string  { return "opened" }
func (*closed) EventType() string { return "closed" }
func (strange) EventType() string { return "strange" }
func (opened) isTest()            {}
func (*closed) isTest()           {}
func (strange) isTest()           {}

func TestJSON(t *testing.T) {
	t.Parallel()
	codec := eventstore.JSON[sealed](opened{}, &closed{}, strange{})
	data, err := codec.Encode(opened{Owner: "ann", Tags: map[string]int{"b": 2, "a": 1}})
	if err != nil || data.Type != "opened" || data.ContentType != "application/json" || string(data.Data) != `{"Owner":"ann","tags":{"a":1,"b":2}}` {
		t.Errorf("encoded as %q, %v", data, err)
	}
	back, err := codec.Decode(eventstore.Event{EventData: data})
	if e, ok := back.(opened); err != nil || !ok || e.Owner != "ann" || e.Tags["b"] != 2 {
		t.Errorf("decoded as %#v, %v", back, err)
	}
	if _, err := codec.Encode(nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("nil: %v", err)
	}
	if _, err := codec.Encode(strange{}); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("what JSON cannot say: %v", err)
	}
	if _, err := eventstore.JSON[sealed](&closed{}).Encode(opened{}); !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("another type: %v", err)
	}
	data.Type = "renamed"
	at := eventstore.Event{EventData: data, Stream: eventstore.StreamID{Kind: "order", ID: "42"}, Version: 7}
	if _, err := codec.Decode(at); !errors.Is(err, eventstore.ErrUnknownType) || !strings.Contains(err.Error(), "order/42, version 7") {
		t.Errorf("an unknown type: %v", err)
	}
	at.Type, at.Data = "opened", []byte(`{"Owner":1}`)
	if _, err := codec.Decode(at); err == nil || !strings.Contains(err.Error(), "order/42, version 7") {
		t.Errorf("other data: %v", err)
	}
}

func TestJSONOfPointers(t *testing.T) {
	t.Parallel()
	codec := eventstore.JSON[sealed](&closed{})
	data, err := codec.Encode(&closed{})
	if err != nil {
		t.Fatal(err)
	}
	if back, err := codec.Decode(eventstore.Event{EventData: data}); err != nil || back == nil {
		t.Errorf("decoded as %#v, %v", back, err)
	} else if e, ok := back.(*closed); !ok || e == nil {
		t.Errorf("decoded as %#v", back)
	}
}

type misnamed struct{ name string }

func (m misnamed) EventType() string { return m.name }

func TestJSONPanics(t *testing.T) {
	t.Parallel()
	for name, types := range map[string][]eventstore.Typed{
		"nil": {nil}, "two of a name": {opened{}, misnamed{"opened"}}, "no name": {misnamed{""}}, "an illegal name": {misnamed{"a\nb"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			eventstore.JSON(types...)
		}()
	}
}
