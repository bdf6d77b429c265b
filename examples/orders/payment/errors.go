package payment

import "errors"

// The rules, as the errors of the commands that break them.
var (
	ErrNotRequested  = errors.New("the payment has not been requested")
	ErrRequested     = errors.New("the payment has been requested already")
	ErrAmount        = errors.New("a payment must be of more than nothing")
	ErrNoCard        = errors.New("a payment needs a card")
	ErrNotAuthorised = errors.New("the payment is not authorised")
	ErrAuthorised    = errors.New("the payment is authorised")
	ErrDeclined      = errors.New("the payment is declined")
	ErrNotCaptured   = errors.New("the payment is not captured")
	ErrCaptured      = errors.New("the payment is captured")
	ErrVoided        = errors.New("the payment is void")
	ErrRefunded      = errors.New("the payment is refunded")
)

// Errors are the errors of the rules by their codes on the wire, for service and
// clients. A code is for ever; what the error says may change.
var Errors = map[string]error{
	"not-requested":  ErrNotRequested,
	"requested":      ErrRequested,
	"amount":         ErrAmount,
	"no-card":        ErrNoCard,
	"not-authorised": ErrNotAuthorised,
	"authorised":     ErrAuthorised,
	"declined":       ErrDeclined,
	"not-captured":   ErrNotCaptured,
	"captured":       ErrCaptured,
	"voided":         ErrVoided,
	"refunded":       ErrRefunded,
}
