// Package state turns states into bytes and back, for packages that keep them on the
// disk.
package state

import (
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Encode returns a state in its own binary form, if it has one, or as JSON. A state
// that would come back otherwise is an error.
func Encode[S any](state S) ([]byte, error) {
	data, err := marshal(&state)
	if err != nil {
		return nil, err
	}
	back, err := Decode[S](data)
	if err != nil {
		return nil, fmt.Errorf("%T cannot be decoded again: %w", state, err)
	}
	if !equal(state, back) {
		return nil, fmt.Errorf("%T comes back changed: are there fields that are not exported, or an empty slice that is left out? Give it methods MarshalBinary and UnmarshalBinary that keep all of it, or a method Equal if it is the same", state)
	}
	return data, nil
}

func marshal[S any](state *S) ([]byte, error) {
	if m, ok := any(state).(encoding.BinaryMarshaler); ok && decodesBinary[S]() {
		return m.MarshalBinary()
	}
	return json.Marshal(state)
}

// Decode returns the state that Encode made these bytes of. They may be those of an
// older program: a panic is an error, as any data that cannot be decoded.
func Decode[S any](data []byte) (state S, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%T: panic: %v", state, r)
		}
	}()
	if _, ok := any(&state).(encoding.BinaryMarshaler); ok && decodesBinary[S]() {
		return state, any(&state).(encoding.BinaryUnmarshaler).UnmarshalBinary(data)
	}
	return state, json.Unmarshal(data, &state)
}

func decodesBinary[S any]() bool {
	_, ok := any(new(S)).(encoding.BinaryUnmarshaler)
	return ok
}

func equal[S any](a, b S) bool {
	if e, ok := any(a).(interface{ Equal(S) bool }); ok {
		return e.Equal(b)
	}
	return reflect.DeepEqual(a, b)
}

// Schema is the schema of states of type S: what the program says, and the fields
// of the type, so that one that was added or changed is noticed.
func Schema[S any](said string) string {
	var b strings.Builder
	describe(&b, reflect.TypeFor[S](), make(map[reflect.Type]bool))
	sum := sha256.Sum256([]byte(b.String()))
	return fmt.Sprintf("%s/%x", said, sum[:8])
}

// describe writes what a type's values are made of. Types go by their names only
// where they were described before, or say themselves how they are written: that
// may be in any way, but changes with their fields.
func describe(b *strings.Builder, t reflect.Type, seen map[reflect.Type]bool) {
	b.WriteString(t.Kind().String())
	if seen[t] || says(t) {
		b.WriteString(" " + t.String())
	}
	if seen[t] {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		seen[t] = true
		for i := range t.NumField() {
			f := t.Field(i)
			fmt.Fprintf(b, "{%s %t %q ", f.Name, f.Anonymous, f.Tag.Get("json"))
			describe(b, f.Type, seen)
			b.WriteString("}")
		}
	case reflect.Map:
		seen[t] = true
		b.WriteString("[")
		describe(b, t.Key(), seen)
		b.WriteString("]")
		describe(b, t.Elem(), seen)
	case reflect.Array:
		fmt.Fprint(b, t.Len())
		describe(b, t.Elem(), seen)
	case reflect.Pointer, reflect.Slice:
		seen[t] = true
		b.WriteString(" ")
		describe(b, t.Elem(), seen)
	}
}

// says reports whether a type has methods that write its values.
func says(t reflect.Type) bool {
	for _, m := range []reflect.Type{
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}
