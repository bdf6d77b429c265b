package eventstore

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns the events of a program into what the log stores and back. E is
// usually an interface that all events of one kind of aggregate implement.
type Codec[E any] interface {
	// Encode returns the stored form of an event.
	Encode(event E) (EventData, error)
	// Decode returns the event that a stored one is. A type it does not know
	// is an error that matches [ErrUnknownType].
	Decode(stored Event) (E, error)
}

// Typed is what an event tells the [JSON] codec: its type on the wire. The name
// is for ever; the Go type may be renamed at any time.
type Typed interface {
	EventType() string
}

// JSON returns a codec that stores events as JSON under the names that their
// EventType methods say. types holds one value of each event type; their
// contents do not matter.
//
// E keeps the events of different aggregates apart. Give it a method that is
// not exported, and the compiler refuses any event of another package:
//
//	type Event interface {
//		eventstore.Typed
//		isOrderEvent()
//	}
//
// JSON panics if two types have the same name, or a value is nil or has no
// valid name, as regexp.MustCompile does: it is meant for package variables.
func JSON[E Typed](types ...E) Codec[E] {
	c := jsonCodec[E]{types: make(map[string]reflect.Type, len(types))}
	for _, e := range types {
		t := reflect.TypeOf(e)
		if t == nil {
			panic("eventstore.JSON: an event type is nil")
		}
		name := e.EventType()
		if err := checkName("event type", name); err != nil {
			panic(fmt.Sprintf("eventstore.JSON: %v of %v", err, t))
		}
		if other, ok := c.types[name]; ok {
			panic(fmt.Sprintf("eventstore.JSON: %v and %v both have the event type %q", other, t, name))
		}
		c.types[name] = t
	}
	return c
}

const jsonContentType = "application/json"

type jsonCodec[E Typed] struct {
	types map[string]reflect.Type
}

func (c jsonCodec[E]) Encode(event E) (EventData, error) {
	t := reflect.TypeOf(event)
	if t == nil {
		return EventData{}, &InvalidError{What: "event", Reason: "is nil"}
	}
	name := event.EventType()
	if c.types[name] != t {
		return EventData{}, fmt.Errorf("%w: %q of Go type %v is not one that the codec was made with", ErrUnknownType, name, t)
	}
	data, err := json.Marshal(event)
	if err != nil {
		return EventData{}, &InvalidError{What: "event " + name, Reason: err.Error()}
	}
	return EventData{Type: name, ContentType: jsonContentType, Data: data}, nil
}

func (c jsonCodec[E]) Decode(stored Event) (event E, err error) {
	t, ok := c.types[stored.Type]
	if !ok {
		return event, fmt.Errorf("stream %s, version %d: %w: %s is not one that the codec was made with",
			stored.Stream, stored.Version, ErrUnknownType, clip(stored.Type))
	}
	v := reflect.New(t)
	if err := json.Unmarshal(stored.Data, v.Interface()); err != nil {
		return event, fmt.Errorf("stream %s, version %d: event of type %s: %w", stored.Stream, stored.Version, clip(stored.Type), err)
	}
	return v.Elem().Interface().(E), nil
}
