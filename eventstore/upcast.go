package eventstore

import (
	"fmt"
	"maps"
	"reflect"
)

// Upcaster turns events of a type that is not written any more into those of its
// successor. See [Upcast].
type Upcaster struct {
	from, to         reflect.Type
	fromName, toName string
	apply            func(any) any
}

// Upcast makes an upcaster of a plain function. An event type has its version
// in its name, by a convention of the program such as a suffix: when the shape
// of "order.placed" changes, the new type is called "order.placed.v2", and a
// function says what an old event means as a new one:
//
//	var codec = eventstore.JSON[Event](Placed{}, Shipped{}).WithUpcasts(
//		eventstore.Upcast(func(old PlacedV1) Placed {
//			return Placed{Customer: old.Name}
//		}),
//	)
//
// The old type has the old name and needs nothing else of the program's events.
func Upcast[From, To Typed](f func(From) To) Upcaster {
	var from From
	var to To
	return Upcaster{
		from: reflect.TypeFor[From](), fromName: from.EventType(),
		to: reflect.TypeFor[To](), toName: to.EventType(),
		apply: func(v any) any { return f(v.(From)) },
	}
}

// WithUpcasts returns a codec that also reads the old types of the upcasters, in
// as many steps as it takes. What it writes stays the same.
//
// It panics, as [JSON] does, if a step leads nowhere: its result is neither one
// of the codec's types nor what another upcaster takes; if two upcasters take the
// same type, or one takes a type that the codec writes; or if they go in a
// circle.
func (c *JSONCodec[E]) WithUpcasts(upcasts ...Upcaster) *JSONCodec[E] {
	next := *c
	next.upcasts = maps.Clone(c.upcasts)
	if next.upcasts == nil {
		next.upcasts = make(map[string]Upcaster, len(upcasts))
	}
	for _, up := range upcasts {
		if err := checkName("event type", up.fromName); err != nil {
			panic(fmt.Sprintf("eventstore.WithUpcasts: %v of %v", err, up.from))
		}
		if t, ok := next.types[up.fromName]; ok {
			panic(fmt.Sprintf("eventstore.WithUpcasts: %q is the event type of %v, which is not an old one", up.fromName, t))
		}
		if other, ok := next.upcasts[up.fromName]; ok {
			panic(fmt.Sprintf("eventstore.WithUpcasts: %v and %v are both upcast from %q", other.from, up.from, up.fromName))
		}
		next.upcasts[up.fromName] = up
	}
	for _, up := range next.upcasts {
		next.checkChain(up)
	}
	return &next
}

// checkChain panics unless an upcast leads to a type that the codec writes.
func (c *JSONCodec[E]) checkChain(up Upcaster) {
	first := up.fromName
	for range len(c.upcasts) {
		if c.types[up.toName] == up.to {
			return
		}
		next, ok := c.upcasts[up.toName]
		if !ok || next.from != up.to {
			panic(fmt.Sprintf("eventstore.WithUpcasts: the upcasts of %q end at %q of Go type %v, which the codec does not know", first, up.toName, up.to))
		}
		up = next
	}
	panic(fmt.Sprintf("eventstore.WithUpcasts: the upcasts of %q go in a circle", first))
}

// WithUnknown returns a codec that lets f decode events of types it does not
// know, for example into an event that keeps the stored one as it is, or by
// which Evolve changes nothing. Without it such an event is an error.
func (c *JSONCodec[E]) WithUnknown(f func(stored Event) (E, error)) *JSONCodec[E] {
	next := *c
	next.unknown = f
	return &next
}
