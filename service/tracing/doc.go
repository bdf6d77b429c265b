// Package tracing follows what one request leads to, from process to process and
// through the log, as traces of OpenTelemetry.
//
// A [Tracer] has what the options of the other packages want, each a span:
//
//	tracer := tracing.New(provider)
//
//	http.ListenAndServe(address, tracer.HTTP(mux))
//
//	orders := aggregate.NewRepository[Order](tracer.Store(store), "order", codec, nil)
//
//	responder, err := service.Respond(ctx, nc, "shop", endpoints, &service.RespondOptions{
//		Around: []service.Around{tracer.Request},
//	})
//
//	shipping, err := projection.New("shipping", store, effects, handlers, &projection.Options{
//		Around: tracer.Handle("shipping"),
//	})
//
// The trace goes from one to the next as metadata, [eventstore.TraceParent] and
// [eventstore.TraceState]: a [service.Client] sends those of its context with a
// command, and an append stores them with the commit, where a handler finds them. So an
// order over HTTP, the command that it is, the append, the handler that ships it and
// the command that this sends to another service are one trace, though there may be
// minutes between them.
//
// Every span is put into the metadata of its context. Begin those of the program itself
// with [Tracer.Start], which does so too; one that another tracer began is the parent of
// ours, but goes with no command and no commit.
//
// Without a provider that samples nothing breaks: a trace from outside is passed on with
// its own decision, and what begins here is not recorded. A trace state of over 512 bytes
// goes no further.
//
// # What spans say
//
// Names and attributes are those of OpenTelemetry's semantic conventions, where they
// have one:
//
//	GET /orders/{id}          a request over HTTP, by its route: http.request.method,
//	                          http.route, http.response.status_code
//	shop.command.order.place  a request to a service, by its subject: rpc.system.name,
//	                          rpc.method, rpc.response.status_code
//	append order, read order  of a stream, by its kind: messaging.operation.name,
//	                          headwater.stream.kind, headwater.stream.version,
//	                          headwater.position
//	process order.placed      an event for a handler: messaging.consumer.group.name, the
//	                          projection; cloudevents.event_type, and those of the stream
//
// What went wrong is in error.type, as a word. Only what may need somebody's help makes
// a span one with an error: not a rejection, a conflict, or a request that made no sense.
//
// There is no payload, no user, no id of a stream, event or command, no path of a URL
// and no text of an error in a span, since any of them may name a person. Who may read
// the log finds the commit by its position.
//
// # Limits
//
// An event that a rebuild handles again has no span: it would be one of a trace that is
// long over. A projection that is new handles old events for the first time, and their
// spans go to the traces that they are of, where those were sampled.
package tracing
