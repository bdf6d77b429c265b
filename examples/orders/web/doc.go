// Package web is the HTTP front of the orders service: a JSON API, a stream of what
// happens, and a page that shows both.
//
//	front := web.New(web.Config{Orders: client, Log: log, Conn: nc, Logger: logger})
//	server := web.Server(front)
//
// It keeps nothing: commands and queries go to the service, through package service,
// and what happens comes from the log. So any number of fronts can run.
//
//	POST /orders               place an order
//	GET  /orders               the orders that were placed last, ?limit= of them, 200 at most
//	GET  /orders/{id}          an order
//	POST /orders/{id}/cancel   cancel it: {"reason": "changed my mind"}, or {}
//	POST /orders/{id}/ship     ship it: {}
//	GET  /events               what happens, as server-sent events
//	GET  /                     the page
//
// # Orders
//
// An order is placed with
//
//	{"id": "1001", "customer": "ALFKI", "required": "2026-12-24", "onAccount": false, "card": "visa-1",
//	 "lines": [{"product": "Chai", "unitPrice": "18.00", "quantity": 2, "discount": "0.05"}]}
//
// of which customer and lines are needed. An order is answered as
// [order.Summary], with the ETag "<version>" and its position. To see what was just
// written in the list, give that position: GET /orders?not-before=17. With
// If-Match a command is executed only on that version of the order.
//
// # Repeating
//
// The Idempotency-Key header makes it safe to repeat a POST: it becomes the id of the
// command, so the order is changed once, and all answers are good. An order that is
// placed without an id gets one that follows from the key, so that it is the same
// order on every attempt. Without the header the front makes a key. Either way the
// answer has it, also that of a failure.
//
// A key belongs to the order that it was used for. There is no table of keys beside
// the log that could disagree with it. Where the key was used before, the front
// looks whether the request would have led to the events that the log has for it, and
// otherwise answers 422: the key was used for another request. What does not lead to
// other events, such as the order of fields, makes no other request. A
// request that was refused left nothing, so its key is free. A key is known for as
// long as the order remembers it, see [aggregate.Repository.Execute].
//
// # Events
//
// GET /events sends each event of an order, once, in the order of the log. Its id is
// the position of its commit, followed by '.' and the version where more events of the
// same commit follow. Who comes back with Last-Event-ID, or ?after=, gets first what
// was missed, read from the log. Who is further behind than 10,000 positions, or
// names a position that the log has not reached, gets an event of the type "reload"
// instead: read the list again, not before the position in it. A client that does
// not keep up is dropped, and comes back in the same way.
//
// # Problems
//
// Whatever fails is answered as problem details (RFC 9457), with a code for programs.
// The codes of the order's rules are those of [order.Errors]. The others:
//
//	bad-request             400  with the field that is wrong, if it is one
//	cross-origin            403  a page of another site asked
//	not-found               404  no such order, or no such address
//	method-not-allowed      405
//	conflict                409  others were faster, several times
//	version                 412  the order has another version than If-Match says
//	too-large               413
//	unsupported-media-type  415  a body is application/json
//	key-reused              422  the Idempotency-Key was used for another request
//	internal                500
//	unavailable             503  the service does not answer
//	behind                  503  the list is not yet where it should be
//	outcome-unknown         504  it may have been done
//
// With the last three, and with 409 conflict, repeating makes sense; Retry-After says
// when. A command is then to have the same key: also with 503 it may have been done, and
// only the order's new state not found out. What an instance is called in the answer is
// in the front's log.
package web
