// Package payment is the payment of an order as event sourcing sees it. It has no
// database and no I/O, and knows of orders only what an amount is.
//
// A payment is asked for ([Request]), and the payment provider then authorises or
// declines it ([Authorise], [Decline]). What is authorised can be captured, which
// moves the money, or voided. What is captured can be refunded. Its id is that of
// the order:
//
//	requested ── authorised ── captured ── refunded
//	    ├─ declined    └─ voided
//	    └─ voided
//
// The rules conserve money: it is captured at most once, only if it is authorised
// and the payment is not void; and it is refunded at most once, as a whole, and only
// if it was captured. A payment can be void before the provider has answered; what
// it answers then is refused.
//
// The commands that a client may ask a service for have names on the wire; those by
// which the provider answers have none.
package payment
