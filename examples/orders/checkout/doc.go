// Package checkout leads an order to its payment, or to its end: it is the state of a
// process manager, as event sourcing sees it. It has no database and no I/O.
//
// A checkout is told what has happened, by its commands: the order was placed with a
// card ([Begin]), the payment was authorised, declined, captured, voided, refunded,
// or the payments do not take it; the order was paid, does not take the payment, was
// cancelled, or cannot be; the deadline is over. It answers with what is to be done
// next, as its events: [PaymentWanted], [CaptureWanted], [OrderPayWanted],
// [CancelWanted], [VoidWanted], [RefundWanted]. Whoever reads these does it and tells
// the checkout what became of it. It ends with [Done] or [Failed].
//
// # Races
//
// What happens is told at least once, late, and in any order between the order and
// the payment. So no command is ever refused: what a checkout has been told already,
// or what does not matter any more, makes no events. And each thing is wanted once.
//
// The order is the arbiter. Whatever goes wrong before it is paid, the checkout first
// wants it cancelled, and gives the money back only when it is: an order that is paid
// at the last moment, and even shipped, is then not given away. What is paid and
// cancelled later is refunded.
//
// Once the capture is wanted the deadline does not matter, and a cancelled order
// waits for what becomes of the capture before the money is given back: a payment that
// may be captured cannot be voided for sure.
package checkout
