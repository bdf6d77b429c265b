// Package projection keeps read models up to date with a log, each event once, in
// order, and builds them anew beside the ones in use.
//
// A [Projection] has handlers, a function for each type of event, and a [Model], the
// database of its read model. Here it is a bbolt file:
//
//	file, err := projection.OpenFile("sales.db")
//
//	sales, err := projection.New("sales-by-day", store, file, projection.From("order", codec,
//		projection.On(func(ctx context.Context, days *bbolt.Bucket, e Placed, at projection.Event) error {
//			return add(days, at.Time, e.Amount)
//		}),
//	), nil)
//
//	err = sales.Run(ctx) // until the context ends
//
// Readers look at what is there with [File.View]. Who has just written something and
// wants to see it there calls [Projection.Wait] with the revision that the write
// returned.
//
// # Read models
//
// A [File] gives handlers a bbolt bucket, a [Memory] a pointer to a Go value, and
// package sqlmodel a transaction of any SQL database. An [Effects] is for handlers
// that do something else than to change a read model, such as to execute commands with
// [Event.CommandID]; on a [KV] several processes share it without a database.
//
// # Guarantees
//
// Once: the checkpoint is stored in the transaction that changes the read model, so
// each event counts once there, whenever the process or the server dies, and also if
// two processes believe that they project. What handlers do outside of that
// transaction is done at least once.
//
// In order: the events of a stream are handled one after another, as they were
// appended, also where several workers handle streams in parallel. Commits are
// handled whole.
//
// Nothing is passed over: a checkpoint is never after a commit that is not handled.
// Positions have no gap, or the projection stops with an [eventstore.CorruptionError];
// so it does if the log ends before the checkpoint, or is another one. A type of
// event that the codec does not know is an error, unless [Options] say otherwise.
//
// What cannot be handled is tried again, with growing pauses, and then stops the
// projection, or is parked: the commits of that stream wait, those of others go on,
// and what waits is handled in its order when somebody asks for it, see
// [Projection.Parked].
//
// # Rebuilds
//
// [Projection.Rebuild] makes a read model anew from the log, as a new generation
// beside the live one, which readers see and which is kept up to date meanwhile. When
// the new one is where the live one is, it replaces it in one transaction. A rebuild
// that is broken off goes on where it was. Package replay gives a program the
// commands for it.
//
// # Limits
//
// The server sends the whole log to each projection, and this process passes over
// what has no handlers: positions without gaps are how a lost commit is noticed. A
// commit waits in memory until its worker has time, at most twice as many for each
// worker as one transaction handles.
package projection
