// Package order is an order as event sourcing sees it. It has no database and
// no I/O: it says what can happen to an order, what an order is after that has
// happened, and which wishes are granted.
//
// An [Event] is something that happened, in the past tense, and is never
// changed again: [Placed], [LineAdded], [LineRemoved], [Paid], [Shipped],
// [Cancelled]. They are all that is stored.
//
// An [Order] is what the events so far amount to. It is a plain value, and
// [Order.Evolve] returns the next one. The zero Order is one that has not been
// placed.
//
// A command is something that somebody wants: [Place], [AddLine], [RemoveLine],
// [Pay], [Ship], [Cancel]. Its Decide method looks at the order and answers with
// events, or with one of this package's errors if a rule refuses:
//
//	events, err := order.Ship{}.Decide(order.Order{}) // nil, ErrNotPlaced
//
// All rules can therefore be tested without a store. With one, a repository
// does the loading and storing around them:
//
//	orders := aggregate.NewRepository[order.Order](store, order.Kind, order.Codec, nil)
//	o, at, err := orders.Execute(ctx, "1001", order.Ship{}, nil)
//
// What a client asks a service for has a name on the wire: the commands [Place],
// [Ship] and [Cancel], and the queries [Find] and [List]. [Errors] are the codes of
// the rules there.
//
// Amounts are [Money], which is exact: what does not fit is refused, never
// rounded.
package order
