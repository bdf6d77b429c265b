// Package eventstore keeps events on NATS JetStream: append, read, follow,
// verify.
//
// A [Store] is one log. A program opens it on a NATS connection, appends events
// to streams, and reads them back:
//
//	store, err := eventstore.Open(ctx, nc, "shop", nil)
//
//	order := eventstore.StreamID{Kind: "order", ID: "42"}
//	at, err := store.Append(ctx, order, eventstore.NoStream, events, nil)
//
//	for event, err := range store.Read(ctx, order, nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(event.Version, event.Type)
//	}
//
// Most programs use it through package aggregate, which turns events into the
// state that commands decide on, and through package projection, which keeps read
// models up to date. A [Consumer] is what the latter reads from: the log in order,
// by way of a consumer on the server, where its lag is to be seen. [Live] is for who
// only wants to know at once what happens, such as a page in a browser: it is told
// without a consumer, at most once, and told too when it may have missed something.
//
// # Words
//
// A log is one JetStream stream, and a bounded context's events in one total
// order. A stream is the events of one aggregate, named by a kind and an id; it
// is not the JetStream stream. A commit is what one append writes: events of
// one stream, all or nothing. A version numbers the events of a stream, 1, 2,
// 3 … without gaps. A position orders the commits of the log, and is what a
// reader remembers to go on from; the events of one commit share it.
//
// # Guarantees
//
// One winner: of the appends that expect the same version of a stream one is
// stored, on one node and on a cluster, and the others get a [ConflictError].
//
// Once: an append that is repeated with its commit id, after a time-out for
// example, is stored once. What is repeated by Append itself needs no id.
//
// Whole: a read returns versions without a gap, checked by a chain of digests,
// or an error. Lost or altered commits are found by whoever reads the stream
// next, and by [Store.Verify]. That a server lost the end of its log, or runs on
// an older copy of it, is found with a high-water mark, see [Options].
//
// Durable is what the server makes it: package embedded syncs each commit to
// disk before it is acknowledged; a NATS server on its own does so with
// sync_interval: always, and by default may lose the last two minutes in a
// power failure.
//
// # Limits
//
// A commit fits one message: 1 MiB by default with its headers, and these
// 64 KiB. A stream's subject fits 255 bytes. Event times are for people; order
// is by version and position. Reading a stream takes memory for up to 1,025
// commits at a time.
package eventstore
