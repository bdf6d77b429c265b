package testutil

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
)

// Scenario returns a case for aggregates of state S that has no history yet. It
// needs no server.
//
//	testutil.Scenario[Order](t, codec).
//		Given(Placed{Customer: "ann"}).
//		When(Ship{}).
//		Then(Shipped{})
//
// Every event of a scenario is also encoded and decoded, so that one which the
// codec does not know, or which does not come back as it was, fails the test. So
// does an Evolve that changes what the state before the event holds, a map for
// example: others may still have that state.
func Scenario[S aggregate.State[S, E], E any](t testing.TB, codec eventstore.Codec[E]) *Case[S, E] {
	return &Case[S, E]{t: t, codec: codec}
}

// Case is an aggregate with a history.
type Case[S aggregate.State[S, E], E any] struct {
	t     testing.TB
	codec eventstore.Codec[E]
	state S
}

// Given returns the case with more events in its history.
func (s *Case[S, E]) Given(events ...E) *Case[S, E] {
	s.t.Helper()
	next := *s
	for _, e := range events {
		s.text(e)
		next.state = s.evolve(next.state, e)
	}
	return &next
}

func (s *Case[S, E]) evolve(before S, e E) S {
	s.t.Helper()
	was := content(before)
	after := before.Evolve(e)
	if now := content(before); now != was {
		s.t.Fatalf("Evolve of %T changed the state before it; copy slices, also to append to them, and maps before they change\n was %s\n now %s", e, was, now)
	}
	return after
}

// content is all of a value: fields that are not exported, what is behind
// pointers, and of slices what is beyond their length as well, where an append
// would write.
func content(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v), 0)
	return b.String()
}

func write(b *strings.Builder, v reflect.Value, depth int) {
	const deepest = 50 // of pointers in a circle
	if depth++; depth > deepest {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			b.WriteString(v.Type().Field(i).Name + ":")
			write(b, v.Field(i), depth)
			b.WriteString(" ")
		}
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(b, "%d of", v.Len())
		if v.Kind() == reflect.Slice {
			v = v.Slice(0, v.Cap())
		}
		for i := range v.Len() {
			b.WriteString(" ")
			write(b, v.Index(i), depth)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			write(b, v.Elem(), depth)
		}
	case reflect.Map:
		var entries []string
		for k, e := range v.Seq2() {
			var entry strings.Builder
			write(&entry, k, depth)
			entry.WriteString(":")
			write(&entry, e, depth)
			entries = append(entries, entry.String())
		}
		slices.Sort(entries)
		fmt.Fprint(b, entries)
	default:
		fmt.Fprint(b, v) // whatever it holds, also of a field that is not exported
	}
}

// State returns what the history folds into.
func (s *Case[S, E]) State() S { return s.state }

// When lets a command decide on the state.
func (s *Case[S, E]) When(command aggregate.Command[S, E]) *Decision[S, E] {
	events, err := command.Decide(s.state)
	return &Decision[S, E]{of: s, command: command, events: events, err: err}
}

// Decision is what a command said.
type Decision[S aggregate.State[S, E], E any] struct {
	of      *Case[S, E]
	command aggregate.Command[S, E]
	events  []E
	err     error
}

// Then checks that the command returned exactly these events, in this order,
// and returns the case with them, for the next command.
func (d *Decision[S, E]) Then(events ...E) *Case[S, E] {
	s := d.of
	s.t.Helper()
	if d.err != nil {
		s.t.Fatalf("%T was rejected: %v", d.command, d.err)
	}
	if len(d.events) != len(events) || len(events) > 0 && !reflect.DeepEqual(d.events, events) {
		s.t.Fatalf("%T\n got %s\nwant %s", d.command, s.texts(d.events), s.texts(events))
	}
	return s.Given(d.events...)
}

// ThenRejected checks that the command was refused, by an error that matches
// reason as [errors.Is] says.
func (d *Decision[S, E]) ThenRejected(reason error) {
	s := d.of
	s.t.Helper()
	switch {
	case d.err == nil:
		s.t.Fatalf("%T was not rejected and returned %s", d.command, s.texts(d.events))
	case !errors.Is(d.err, reason):
		s.t.Fatalf("%T was rejected\nbecause: %v\n   want: %v", d.command, d.err, reason)
	}
}

// text is the stored form of an event, checked to come back as it was.
func (s *Case[S, E]) text(event E) string {
	s.t.Helper()
	data, err := s.codec.Encode(event)
	if err != nil {
		s.t.Fatalf("encode %T: %v", event, err)
	}
	back, err := s.codec.Decode(eventstore.Event{EventData: data})
	if err != nil {
		s.t.Fatalf("decode %T: %v", event, err)
	}
	if !reflect.DeepEqual(event, back) {
		s.t.Fatalf("%T does not survive its codec\n was %#v\n now %#v\n via %s", event, event, back, data.Data)
	}
	return fmt.Sprintf("%s %s", data.Type, data.Data)
}

func (s *Case[S, E]) texts(events []E) string {
	s.t.Helper()
	lines := []string{"no events"}
	for i, e := range events {
		lines = append(lines[:i], s.text(e))
	}
	return strings.Join(lines, "\n     ")
}
