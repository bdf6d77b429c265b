package payment

import "github.com/headwater-go/headwater/examples/orders/order"

// Request asks for a payment. It is refused with ErrRequested, ErrAmount or
// ErrNoCard.
type Request struct {
	Amount order.Money `json:"amount"`
	Card   string      `json:"card"` // the provider's token
}

// Decide returns Requested.
func (c Request) Decide(p Payment) ([]Event, error) {
	switch {
	case p.Requested:
		return nil, ErrRequested
	case c.Amount <= 0:
		return nil, ErrAmount
	case c.Card == "":
		return nil, ErrNoCard
	}
	return []Event{Requested(c)}, nil
}

// Authorise is the provider's yes. It is refused with ErrNotRequested,
// ErrAuthorised, ErrDeclined, ErrVoided or ErrRefunded.
type Authorise struct{}

// Decide returns Authorised.
func (Authorise) Decide(p Payment) ([]Event, error) {
	if err := p.unanswered(); err != nil {
		return nil, err
	}
	return []Event{Authorised{}}, nil
}

// Decline is the provider's no. It is refused as Authorise is.
type Decline struct {
	Reason string
}

// Decide returns Declined.
func (c Decline) Decide(p Payment) ([]Event, error) {
	if err := p.unanswered(); err != nil {
		return nil, err
	}
	return []Event{Declined(c)}, nil
}

// Capture takes the money. It is refused with ErrNotRequested, ErrNotAuthorised,
// ErrDeclined, ErrCaptured, ErrVoided or ErrRefunded.
type Capture struct{}

// Decide returns Captured with the amount.
func (Capture) Decide(p Payment) ([]Event, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	switch {
	case !p.Authorised:
		return nil, ErrNotAuthorised
	case p.Captured:
		return nil, ErrCaptured
	}
	return []Event{Captured{Amount: p.Amount}}, nil
}

// Void ends a payment that is not captured, answered by the provider or not. It is
// refused with ErrNotRequested, ErrDeclined, ErrCaptured, ErrVoided or ErrRefunded.
type Void struct {
	Reason string `json:"reason,omitempty"`
}

// Decide returns Voided.
func (c Void) Decide(p Payment) ([]Event, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	if p.Captured {
		return nil, ErrCaptured
	}
	return []Event{Voided(c)}, nil
}

// Refund gives the money back, all of it. It is refused with ErrNotRequested,
// ErrNotCaptured, ErrDeclined, ErrVoided or ErrRefunded.
type Refund struct {
	Reason string `json:"reason,omitempty"`
}

// Decide returns Refunded with the amount.
func (c Refund) Decide(p Payment) ([]Event, error) {
	if err := p.open(); err != nil {
		return nil, err
	}
	if !p.Captured {
		return nil, ErrNotCaptured
	}
	return []Event{Refunded{Amount: p.Amount, Reason: c.Reason}}, nil
}

// unanswered returns why the provider's answer comes too late, nil if it does not.
func (p Payment) unanswered() error {
	if err := p.open(); err != nil {
		return err
	}
	if p.Authorised {
		return ErrAuthorised
	}
	return nil
}

// RequestType returns "payment.request".
func (Request) RequestType() string { return "payment.request" }

// RequestType returns "payment.capture".
func (Capture) RequestType() string { return "payment.capture" }

// RequestType returns "payment.void".
func (Void) RequestType() string { return "payment.void" }

// RequestType returns "payment.refund".
func (Refund) RequestType() string { return "payment.refund" }
