package projection

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
)

// Projection keeps a read model up to date with a log. It may be used from
// several goroutines; at most one of them runs it.
type Projection[T any] struct {
	name     string
	store    *eventstore.Store
	model    Model[T]
	traits   Traits
	handlers map[string]source[T] // by kind
	kinds    []string
	opts     Options

	running  sync.Mutex    // held by Run
	building chan struct{} // holds one while Rebuild works
	monitor  *monitor
	troubles troubles
}

// Options are what a projection may be made with. The zero value of each field is
// its default.
type Options struct {
	// Version is the number of the handlers' version. A program whose version is
	// higher than the read model's builds a new generation when it runs, beside
	// the one that readers see, and then replaces that. One whose version is lower
	// does nothing. Default 0.
	Version int
	// After is where a projection that is new begins: after that position, or
	// after what is there with [Now]. Default: from the first event on.
	After uint64
	// Workers is how many goroutines handle events, those of each stream one after
	// the other, where the model lets transactions run in parallel. Default 1.
	Workers int
	// Batch is how many commits one transaction handles at most; default 1000. It
	// never waits for more than are there.
	Batch int
	// Attempts is how often the handlers of a commit are tried, with growing
	// pauses, until it counts as one that cannot be handled; default 8,
	// which takes some seconds. While the database of the read model fails, or the
	// error is a [Transient] one, attempts are not counted.
	Attempts int
	// Poison says what to do about a commit that cannot be handled; default:
	// [Stop].
	Poison Poison
	// Unknown says what to do about an event of a type that its codec does not
	// know; default: [Refuse].
	Unknown Unknown
	// Drain is for how long handlers may go on with the transaction in hand after
	// the context of Run has ended; default 10 seconds.
	Drain time.Duration
	// Around is called for each event that has a handler, and calls next, once, to
	// have it handled. It may give it another context; what it returns counts as what
	// the handler returned, and a panic as a [PanicError], which next returns if it is
	// the handler's. No error without a call of next is one that matches
	// [eventstore.ErrInvalid]. Default: next alone.
	Around func(ctx context.Context, at Event, next func(context.Context) error) error
	// Hooks are told what happens.
	Hooks Hooks
}

// Now is where a projection begins that is only about what comes.
const Now uint64 = math.MaxUint64

// Poison is what to do about a commit that cannot be handled.
type Poison int

const (
	// Stop ends Run with a [StoppedError]. No checkpoint passes the commit.
	Stop Poison = iota
	// Park puts the commit aside, and every later one of its stream behind it, and
	// goes on with the others. See [Projection.Parked].
	Park
)

// The words for it, in flags and settings.
var poisons = words[Poison]{Stop: "stop", Park: "park"}

// MarshalText returns "stop" or "park".
func (p Poison) MarshalText() ([]byte, error) { return poisons.text(p) }

// UnmarshalText reads one of these, so that a Poison can be a flag, see
// [flag.TextVar], or a setting.
func (p *Poison) UnmarshalText(text []byte) error { return poisons.parse(p, text) }

// Unknown is what to do about an event of unknown type.
type Unknown int

const (
	// Refuse takes the commit for one that cannot be handled.
	Refuse Unknown = iota
	// Ignore passes over the event.
	Ignore
)

var unknowns = words[Unknown]{Refuse: "refuse", Ignore: "ignore"}

// MarshalText returns "refuse" or "ignore".
func (u Unknown) MarshalText() ([]byte, error) { return unknowns.text(u) }

// UnmarshalText reads one of these.
func (u *Unknown) UnmarshalText(text []byte) error { return unknowns.parse(u, text) }

// words are those for values.
type words[V comparable] map[V]string

func (w words[V]) text(v V) ([]byte, error) {
	word, ok := w[v]
	if !ok {
		return nil, fmt.Errorf("there is no %T %v", v, v)
	}
	return []byte(word), nil
}

func (w words[V]) parse(to *V, text []byte) error {
	for v, word := range w {
		if word == string(text) {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(slices.Sorted(maps.Values(w)), ", "))
}

const (
	defaultBatch    = 1000
	defaultAttempts = 8
	defaultDrain    = 10 * time.Second
	maxWorkers      = 256
)

// New returns a projection of the log's events to a read model. The name is 1 to
// 48 letters, digits, '-' and '_'. A read model is that of a name, in its model,
// for as long as both are there.
//
// Handlers that make no sense, or another bad argument, are an error that matches
// [eventstore.ErrInvalid].
func New[T any](name string, store *eventstore.Store, model Model[T], handlers Handlers[T], opts *Options) (*Projection[T], error) {
	if opts == nil {
		opts = &Options{}
	}
	p := &Projection[T]{name: name, store: store, model: model, traits: model.Traits(), opts: *opts, monitor: newMonitor(name, opts.Hooks), building: make(chan struct{}, 1)}
	if err := checkName(name); err != nil {
		return nil, err
	}
	var err error
	if p.handlers, err = handlers.byKind(); err != nil {
		return nil, p.invalid("handlers", err.Error())
	}
	for kind := range p.handlers {
		p.kinds = append(p.kinds, kind)
	}
	o := &p.opts
	defaults(&o.Workers, 1)
	defaults(&o.Batch, defaultBatch)
	defaults(&o.Attempts, defaultAttempts)
	defaults(&o.Drain, defaultDrain)
	switch {
	case o.Workers > maxWorkers:
		return nil, p.invalid("workers", fmt.Sprintf("%d are more than %d", o.Workers, maxWorkers))
	case o.Version != 0 && p.traits.Outside:
		return nil, p.invalid("version", "there is no read model to build anew")
	case o.Workers > 1 && !p.traits.Parallel:
		return nil, p.invalid("workers", "the model has one transaction at a time, so a second worker would only wait")
	}
	return p, nil
}

func defaults[N int | time.Duration](value *N, byDefault N) {
	if *value <= 0 {
		*value = byDefault
	}
}

func (p *Projection[T]) invalid(what, reason string) error {
	return &eventstore.InvalidError{What: "projection " + p.name + ": " + what, Reason: reason}
}

func checkName(name string) error {
	const most = 48
	ok := len(name) >= 1 && len(name) <= most
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z')
	}
	if ok {
		return nil
	}
	return &eventstore.InvalidError{What: "projection name", Value: name, Reason: fmt.Sprintf("is not 1 to %d letters, digits, '-' and '_'", most)}
}

// Name returns the projection's name.
func (p *Projection[T]) Name() string { return p.name }

// Store returns the log.
func (p *Projection[T]) Store() *eventstore.Store { return p.store }
