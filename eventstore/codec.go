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
	// Decode returns the event that a stored one is, which is to follow from
	// its EventData alone: an event that is just being appended has no more
	// yet. A type it does not know is an error that matches [ErrUnknownType].
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
func JSON[E Typed](types ...E) *JSONCodec[E] {
	c := &JSONCodec[E]{types: make(map[string]reflect.Type, len(types))}
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

// JSONCodec is the [Codec] that [JSON] returns. It may be used from several
// goroutines.
type JSONCodec[E Typed] struct {
	types   map[string]reflect.Type
	upcasts map[string]Upcaster
	unknown func(Event) (E, error)
}

// Encode returns the event as JSON. It fails if the codec was not made with the
// event's type, or with an [InvalidError] if the event has no JSON form.
func (c *JSONCodec[E]) Encode(event E) (EventData, error) {
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

// TypeOf returns the Go type of the events that Decode makes of stored ones of an
// event type, and whether the codec knows it: so whoever has no use for that type
// need not decode them.
func (c *JSONCodec[E]) TypeOf(eventType string) (reflect.Type, bool) {
	for {
		up, ok := c.upcasts[eventType]
		if !ok {
			break
		}
		eventType = up.toName
	}
	t, ok := c.types[eventType]
	return t, ok
}

// Returns reports whether Decode returns events of a Go type.
func (c *JSONCodec[E]) Returns(event reflect.Type) bool {
	for _, t := range c.types {
		if t == event {
			return true
		}
	}
	return c.unknown != nil
}

// Decode returns the event that a stored one is, brought up to date by the
// codec's upcasts. The error matches [ErrUnknownType] for a type that the codec
// does not know, and otherwise says why the data is not that of its type.
func (c *JSONCodec[E]) Decode(stored Event) (E, error) {
	event, err := c.decode(stored)
	if err != nil {
		var zero E
		return zero, fmt.Errorf("stream %s, version %d: event of type %s: %w", stored.Stream, stored.Version, clip(stored.Type), err)
	}
	return event, nil
}

func (c *JSONCodec[E]) decode(stored Event) (event E, err error) {
	if t, ok := c.types[stored.Type]; ok {
		v, err := unmarshal(t, stored.Data)
		if err != nil {
			return event, err
		}
		return v.(E), nil
	}
	up, ok := c.upcasts[stored.Type]
	if !ok {
		if c.unknown != nil {
			return c.unknown(stored)
		}
		return event, fmt.Errorf("%w: the codec was not made with it", ErrUnknownType)
	}
	v, err := unmarshal(up.from, stored.Data)
	if err != nil {
		return event, err
	}
	for ok {
		v = up.apply(v)
		up, ok = c.upcasts[up.toName]
	}
	return v.(E), nil
}

func unmarshal(t reflect.Type, data []byte) (any, error) {
	v := reflect.New(t)
	err := json.Unmarshal(data, v.Interface())
	return v.Elem().Interface(), err
}
