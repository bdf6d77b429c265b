package projection

import (
	"bytes"
	"context"
	"maps"
	"strings"
)

// Effects is a model for handlers whose effects are outside of any database of
// ours: a mail, a message, a command to another aggregate. It keeps the checkpoint,
// and what is parked, in another model, after handlers have run. There is no read
// model, so handlers get an empty struct:
//
//	effects := projection.NewEffects(kv)
//	shipping, err := projection.New("shipping", store, effects, projection.From("order", codec,
//		projection.On(func(ctx context.Context, _ struct{}, e Placed, at projection.Event) error {
//			_, err := parcels.Execute(ctx, at.Stream.ID, Send{}, &service.CommandOptions{CommandID: at.CommandID("send")})
//			return err
//		}),
//	), nil)
//
// So each event is handled at least once: those since the last checkpoint again if
// the process dies, and single ones if their handlers fail. Make effects so that a
// second time changes nothing, for example commands with the id of [Event.CommandID].
// The context of a handler is that of [eventstore.CausedBy], so the events that a
// command appends with it say what they are because of.
type Effects[T any] struct{ in Model[T] }

// NewEffects returns a model that keeps its checkpoints in another one.
func NewEffects[T any](in Model[T]) *Effects[T] { return &Effects[T]{in} }

// Traits says that workers may run in parallel, and several processes share it if
// they share the model below.
func (e *Effects[T]) Traits() Traits {
	return Traits{Shared: e.in.Traits().Shared, Parallel: true, Outside: true}
}

func (e *Effects[T]) claim(projection string) bool {
	c, ok := e.in.(claimer)
	return !ok || c.claim(projection)
}

func (e *Effects[T]) disclaim(projection string) {
	if c, ok := e.in.(claimer); ok {
		c.disclaim(projection)
	}
}

// Flush saves what the model below has not saved.
func (e *Effects[T]) Flush(ctx context.Context) error {
	if f, ok := e.in.(flusher); ok {
		return f.Flush(ctx)
	}
	return nil
}

// Records is that of [Model].
func (e *Effects[T]) Records(ctx context.Context, projection string, f func(Records) error) error {
	return e.in.Records(ctx, projection, f)
}

// Update is that of [Model]. It runs f, and then writes records in a transaction,
// if those that f has read are the same still.
func (e *Effects[T]) Update(ctx context.Context, projection string, f func(Tx[struct{}]) error) error {
	tx := &effectsTx{read: map[string][]byte{}, written: map[string][]byte{}}
	tx.get = func(key string) (value []byte, err error) {
		err = e.in.Records(ctx, projection, func(r Records) error {
			value, err = r.Get(key)
			return err
		})
		return value, err
	}
	tx.list = func(prefix string) (all map[string][]byte, err error) {
		err = e.in.Records(ctx, projection, func(r Records) error {
			all, err = r.List(prefix)
			return err
		})
		return all, err
	}
	if err := f(tx); err != nil {
		return err
	}
	if s, ok := e.in.(swapper); ok {
		return s.swap(ctx, projection, tx.read, tx.written)
	}
	return e.in.Update(ctx, projection, func(to Tx[T]) error { return apply(tx, to) })
}

func apply[T any](tx *effectsTx, to Tx[T]) error {
	for key, before := range tx.read {
		now, err := to.Get(key)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, before) {
			return errMoved
		}
	}
	for key, value := range tx.written {
		if err := to.Put(key, value); err != nil {
			return err
		}
	}
	return nil
}

// effectsTx collects what a transaction is to do.
type effectsTx struct {
	get           func(string) ([]byte, error)
	list          func(string) (map[string][]byte, error)
	read, written map[string][]byte
}

func (t *effectsTx) Get(key string) ([]byte, error) {
	if value, ok := t.written[key]; ok {
		return value, nil
	}
	if value, ok := t.read[key]; ok {
		return value, nil
	}
	value, err := t.get(key)
	if err == nil {
		t.read[key] = bytes.Clone(value)
	}
	return value, err
}

func (t *effectsTx) List(prefix string) (map[string][]byte, error) {
	all, err := t.list(prefix)
	if err != nil {
		return nil, err
	}
	for key, value := range t.written {
		if strings.HasPrefix(key, prefix) {
			all[key] = value
		}
	}
	maps.DeleteFunc(all, func(_ string, value []byte) bool { return value == nil })
	return all, nil
}

func (t *effectsTx) Put(key string, value []byte) error {
	t.written[key] = bytes.Clone(value)
	return nil
}

// There is no read model.
func (t *effectsTx) Data(uint64) (none struct{}, err error) { return none, nil }
func (t *effectsTx) Create(uint64) error                    { return nil }
func (t *effectsTx) Show(uint64) error                      { return nil }
func (t *effectsTx) Drop(uint64) error                      { return nil }
