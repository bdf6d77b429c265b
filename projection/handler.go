package projection

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
)

// Event is the stored event that a handler gets beside the decoded one.
type Event struct {
	eventstore.Event
	// Generation is that of the read model that the handler changes.
	Generation uint64
	// Replaying says that an earlier generation has handled the event. What a
	// handler does besides changing the read model, such as sending a mail, it
	// leaves out then.
	Replaying bool
}

// CommandID returns an id for a command that a handler has executed because of the
// event: the same one whenever the event is handled again, so the command is applied
// once. The step tells several commands from each other that the event leads to, also
// those of several projections to the same aggregate; it may be any text, or empty.
func (e Event) CommandID(step string) string {
	// Only the step may have a NUL, and it comes last: no two names are the same text.
	name := strings.Join([]string{e.Stream.Kind, e.Stream.ID, e.CommitID, strconv.FormatUint(e.Version, 10), step}, "\x00")
	return uuid.NewSHA1(commandIDs, []byte(name)).String()
}

// commandIDs is the name space of the ids that follow from events. It is part of
// what is stored.
var commandIDs = uuid.MustParse("6f0b7f0e-3b8e-5c0b-9a53-0f6f4f0c2d61")

// Handlers are the handlers of a projection, by the kinds of streams that their
// events are in. [From] makes those of one kind; append joins them.
type Handlers[T any] []source[T]

// source are the handlers of a kind.
type source[T any] struct {
	kind   string
	decode func(eventstore.Event) (any, error)
	typeOf func(eventType string) (reflect.Type, bool) // nil: only decoding tells
	types  map[reflect.Type]handle[T]
	forget func(ctx context.Context, data T, stream eventstore.StreamID) error
	wrong  error
}

type handle[T any] func(ctx context.Context, data T, event any, stored Event) error

// Handler is a function for the events of one Go type, see [On], or for a stream
// that is to be projected anew, see [Forget].
type Handler[T any] struct {
	event  reflect.Type
	call   handle[T]
	forget func(ctx context.Context, data T, stream eventstore.StreamID) error
}

// From returns the handlers of events in the streams of a kind. The codec is the
// one that the events are stored with. An event of a type that the codec knows and
// no handler is for is passed over; if the codec has a method TypeOf, as that of
// [eventstore.JSON] has, without decoding it. Several projections may share handlers.
func From[T, E any](kind string, codec eventstore.Codec[E], handlers ...Handler[T]) Handlers[T] {
	s := source[T]{
		kind: kind, types: make(map[reflect.Type]handle[T], len(handlers)),
		decode: func(e eventstore.Event) (any, error) { return codec.Decode(e) },
	}
	if c, ok := codec.(interface {
		TypeOf(eventType string) (reflect.Type, bool)
	}); ok {
		s.typeOf = c.TypeOf
	}
	var knows func(reflect.Type) bool
	if c, ok := codec.(interface{ Returns(reflect.Type) bool }); ok {
		knows = c.Returns
	}
	events := reflect.TypeFor[E]()
	for _, h := range handlers {
		switch {
		case h.forget != nil:
			s.forget = h.forget
			continue
		case h.event.Kind() == reflect.Interface:
			s.wrong = fmt.Errorf("there is a handler of %v, which is an interface, and no event is of that type itself", h.event)
		case !h.event.AssignableTo(events):
			s.wrong = fmt.Errorf("the handler of %v is for another codec than that of %v", h.event, events)
		case knows != nil && !knows(h.event):
			s.wrong = fmt.Errorf("there is a handler of %v, which the codec never returns", h.event)
		case s.types[h.event] != nil:
			s.wrong = fmt.Errorf("there are two handlers of %v", h.event)
		}
		s.types[h.event] = h.call
	}
	return Handlers[T]{s}
}

// On returns the handler of the events of one Go type, which is no interface:
//
//	projection.On(func(ctx context.Context, sales *bbolt.Bucket, e order.Placed, at projection.Event) error {
//		…
//	})
//
// What it does to the read model counts if it and all others of the transaction
// return nil; it may be called again for the same event until then. An error is
// tried again, see [Options].
func On[T, E any](f func(ctx context.Context, data T, event E, at Event) error) Handler[T] {
	return Handler[T]{
		event: reflect.TypeFor[E](),
		call: func(ctx context.Context, data T, event any, at Event) error {
			return f(ctx, data, event.(E), at)
		},
	}
}

// Forget returns the handler that removes from the read model what the events of a
// stream made there. With it the projection can be replayed for one stream.
func Forget[T any](f func(ctx context.Context, data T, stream eventstore.StreamID) error) Handler[T] {
	return Handler[T]{forget: f}
}

// byKind returns the handlers by their kinds.
func (h Handlers[T]) byKind() (map[string]source[T], error) {
	kinds := make(map[string]source[T], len(h))
	for _, s := range h {
		if _, twice := kinds[s.kind]; twice {
			return nil, fmt.Errorf("kind %s has handlers twice; give them to one From", s.kind)
		}
		if s.wrong != nil {
			return nil, fmt.Errorf("kind %s: %w", s.kind, s.wrong)
		}
		kinds[s.kind] = s
	}
	if len(kinds) == 0 {
		return nil, errors.New("there are no handlers")
	}
	return kinds, nil
}

// call is a handler and an event for it.
type call[T any] struct {
	handle handle[T]
	event  any
	stored *eventstore.Event
}

// calls appends what is to be done for a commit.
func (s source[T]) calls(to []call[T], events []eventstore.Event, unknown Unknown) ([]call[T], error) {
	for i := range events {
		e := &events[i]
		if s.passesOver(e.Type) {
			continue
		}
		event, err := s.decoded(*e)
		switch {
		case err != nil && unknown == Ignore && errors.Is(err, eventstore.ErrUnknownType):
			continue
		case err != nil:
			return to, &Permanent{Err: err}
		}
		if h := s.types[reflect.TypeOf(event)]; h != nil {
			to = append(to, call[T]{h, event, e})
		}
	}
	return to, nil
}

// passesOver reports whether there is no handler for events of a type, if that can be
// told without decoding one.
func (s source[T]) passesOver(eventType string) bool {
	if s.typeOf == nil {
		return false
	}
	t, known := s.typeOf(eventType)
	return known && s.types[t] == nil
}

func (s source[T]) decoded(e eventstore.Event) (event any, err error) {
	defer recovered(&err)
	return s.decode(e)
}

func (c call[T]) do(ctx context.Context, data T, at Event) (err error) {
	defer recovered(&err)
	return c.handle(ctx, data, c.event, at)
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &PanicError{Value: r, Stack: debug.Stack()}
	}
}
