// Package aggregate keeps the state of a program's things, such as orders or
// accounts, as their events.
//
// State is a value that folds events; its zero value has none. A command is a
// value that decides: given the state it returns events, or an error if a rule
// refuses. Neither knows of the store:
//
//	type Order struct{ Placed, Shipped bool }
//
//	func (o Order) Evolve(e Event) Order {
//		switch e.(type) {
//		case Placed:
//			o.Placed = true
//		case Shipped:
//			o.Shipped = true
//		}
//		return o
//	}
//
//	type Ship struct{}
//
//	func (Ship) Decide(o Order) ([]Event, error) {
//		if !o.Placed {
//			return nil, errors.New("there is no such order")
//		}
//		if o.Shipped {
//			return nil, nil // nothing to do
//		}
//		return []Event{Shipped{}}, nil
//	}
//
// A [Repository] loads the state, lets the command decide, and appends:
//
//	orders := aggregate.NewRepository[Order](store, "order", codec, nil)
//	order, at, err := orders.Execute(ctx, "42", Ship{}, nil)
//
// # Guarantees
//
// A command's events are stored together or not at all, and only if nothing
// was appended to the aggregate since the state it decided on. Where another
// writer was faster, the repository loads what is new and lets the command
// decide again; Decide must therefore have no effects of its own.
//
// A command with an id is applied once, however often it is executed, as long
// as it is among the last [eventstore.Remembered] commits of its aggregate, or
// within the log's duplicate window.
//
// A command for a version, see [ExecuteOptions], is applied on that version or not at
// all: of several for the same one wins.
//
// # Speed
//
// The states that were used last are kept in memory. A command on one of them
// costs the append; if another process was faster, a conflict and what is new.
// With [Options.Snapshots] states are kept on the disk too, and what is not in
// memory is read from there, with the events since. Neither changes what a load
// or a command returns.
//
// # Limits
//
// States are shared, by those who load them and with later ones. Evolve must not
// change what an earlier state holds: copy a slice or map before changing it, as
// slices.Clone and maps.Clone do. That includes appending to a slice, which may
// write where another state that came of the same one has its own: append to
// slices.Clip of it, which copies. Nor may anybody change what a state holds
// that a repository returned. Package testutil's Scenario finds such mistakes.
package aggregate

// State is a value that folds events of type E. Evolve returns the state after
// the event and leaves the receiver as it was.
type State[S, E any] interface {
	Evolve(event E) S
}

// Command is a value that decides, for a state S, which events happen. It
// returns none if there is nothing to do, or an error if a rule refuses. It
// may be asked several times and must have no effects.
type Command[S, E any] interface {
	Decide(state S) ([]E, error)
}
