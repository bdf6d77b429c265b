package order

import (
	"errors"
	"fmt"
)

// The rules, as the errors of the commands that break them.
var (
	ErrNotPlaced     = errors.New("the order has not been placed")
	ErrAlreadyPlaced = errors.New("the order has been placed already")
	ErrPaid          = errors.New("the order is paid")
	ErrNotPaid       = errors.New("the order is not paid")
	ErrShipped       = errors.New("the order is shipped")
	ErrCancelled     = errors.New("the order is cancelled")
	ErrAmount        = errors.New("the order does not amount to that")
	ErrNothingToPay  = errors.New("an order with a card must amount to something")
	ErrCardOnAccount = errors.New("an order on account is not paid with a card")

	ErrNoCustomer = errors.New("an order needs a customer")
	ErrNoLines    = errors.New("an order needs at least one line")
	ErrNoSuchLine = errors.New("the order has no such line")
	ErrNoProduct  = errors.New("a line needs a product")
	ErrPrice      = errors.New("a unit price must not be negative or have a fraction of a cent")
	ErrQuantity   = errors.New("a quantity must be more than 0")
	ErrDiscount   = errors.New("a discount must be at least 0 and less than 1")
	ErrTooLong    = fmt.Errorf("a customer, product, card or reason must have at most %d bytes", MaxText)
)

// What is wrong with an amount.
var (
	// ErrSyntax: a text is not a decimal number that fits, exactly.
	ErrSyntax = errors.New("not a decimal number")
	// ErrTooLarge: an amount is beyond what Money can count.
	ErrTooLarge = errors.New("the amount is too large")
)

// Errors are the errors of the rules by their codes on the wire, for service and
// clients. A code is for ever; what the error says may change.
var Errors = map[string]error{
	"not-placed":      ErrNotPlaced,
	"already-placed":  ErrAlreadyPlaced,
	"paid":            ErrPaid,
	"not-paid":        ErrNotPaid,
	"shipped":         ErrShipped,
	"cancelled":       ErrCancelled,
	"amount":          ErrAmount,
	"nothing-to-pay":  ErrNothingToPay,
	"card-on-account": ErrCardOnAccount,
	"no-customer":     ErrNoCustomer,
	"no-lines":        ErrNoLines,
	"no-such-line":    ErrNoSuchLine,
	"no-product":      ErrNoProduct,
	"price":           ErrPrice,
	"quantity":        ErrQuantity,
	"discount":        ErrDiscount,
	"too-long":        ErrTooLong,
	"too-large":       ErrTooLarge,
}
