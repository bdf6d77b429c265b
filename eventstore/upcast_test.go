package eventstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// Three shapes of one event. Only the last is an event of the program.
type (
	signedV1 struct{ Name string }
	signedV2 struct{ First, Last string }
	signed   struct {
		First, Last string
		Consent     bool
	}
	raw struct{ Stored eventstore.Event }
)

func (signedV1) EventType() string { return "signed" }
func (signedV2) EventType() string { return "signed.v2" }
func (signed) EventType() string   { return "signed.v3" }
func (raw) EventType() string      { return "raw" }
func (signed) isTest()             {}
func (raw) isTest()                {}

func toV2(old signedV1) signedV2 {
	var e signedV2
	_, _ = fmt.Sscan(old.Name, &e.First, &e.Last)
	return e
}

func toV3(old signedV2) signed { return signed{First: old.First, Last: old.Last} }

func kept(eventType, data string) eventstore.Event {
	return eventstore.Event{EventData: eventstore.EventData{Type: eventType, Data: []byte(data)}}
}

// Item 55: a chain of upcasters on reading.
func TestUpcast(t *testing.T) {
	t.Parallel()
	codec := eventstore.JSON[sealed](signed{}).WithUpcasts(eventstore.Upcast(toV2), eventstore.Upcast(toV3))
	for _, test := range []struct {
		stored eventstore.Event
		want   signed
	}{
		{kept("signed", `{"Name":"Ann Ng"}`), signed{First: "Ann", Last: "Ng"}},
		{kept("signed.v2", `{"First":"Ann","Last":"Ng"}`), signed{First: "Ann", Last: "Ng"}},
		{kept("signed.v3", `{"First":"Ann","Consent":true}`), signed{First: "Ann", Consent: true}},
	} {
		if got, err := codec.Decode(test.stored); err != nil || got != test.want {
			t.Errorf("%s is read as %#v, %v", test.stored.Type, got, err)
		}
	}
	if _, err := codec.Decode(kept("signed", `{"Name":1}`)); err == nil || errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("other data of an old type: %v", err)
	}
	if data, err := codec.Encode(signed{First: "Ann"}); err != nil || data.Type != "signed.v3" {
		t.Errorf("written as %q, %v", data, err)
	}
}

func TestUpcastsMustLeadSomewhere(t *testing.T) {
	t.Parallel()
	base := eventstore.JSON[sealed](signed{})
	for name, with := range map[string]func(){
		"gap":     func() { base.WithUpcasts(eventstore.Upcast(toV2)) },
		"twice":   func() { base.WithUpcasts(eventstore.Upcast(toV3), eventstore.Upcast(toV3)) },
		"current": func() { base.WithUpcasts(eventstore.Upcast(func(e signed) signed { return e })) },
		"circle": func() {
			base.WithUpcasts(eventstore.Upcast(toV2), eventstore.Upcast(func(signedV2) signedV1 { return signedV1{} }))
		},
		"same name": func() {
			base.WithUpcasts(eventstore.Upcast(toV2), eventstore.Upcast(func(otherV2) signed { return signed{} }))
		},
	} {
		if !panics(with) {
			t.Errorf("%s: no panic", name)
		}
	}
}

type otherV2 struct{}

func (otherV2) EventType() string { return "signed.v2" }

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

// Item 54: an unknown type is an error, or delivered as it is.
func TestUnknownType(t *testing.T) {
	t.Parallel()
	strict := eventstore.JSON[sealed](signed{})
	odd := kept("odd", "anything")
	if _, err := strict.Decode(odd); !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("an unknown type: %v", err)
	}
	open := strict.WithUnknown(func(stored eventstore.Event) (sealed, error) { return raw{stored}, nil })
	if got, err := open.Decode(odd); err != nil || string(got.(raw).Stored.Data) != "anything" {
		t.Errorf("delivered as %#v, %v", got, err)
	}
	if _, err := strict.Decode(odd); err == nil {
		t.Error("the policy of one codec became that of another")
	}
}
