package order

import "time"

// Find asks for one order, by a query whose answer is a Summary and the newest
// there is.
type Find struct {
	ID string `json:"id"`
}

// List asks for the orders that were placed last, the newest first, by a query
// whose answer is a Listed.
type List struct {
	// Limit is how many are listed at most; 0: DefaultLimit. There are never more
	// than MaxLimit.
	Limit int `json:"limit"`
}

// How many orders are listed. MaxLimit of them fit into a message, whatever is in them.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Summary is an order in an answer.
type Summary struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Stage    string    `json:"stage"`
	Reason   string    `json:"reason,omitempty"` // why it is cancelled
	Amount   Money     `json:"amount"`           // after discounts
	Version  uint64    `json:"version"`
	Position uint64    `json:"position"` // of its last commit
	Changed  time.Time `json:"changed"`  // when that was
}

// Listed is the answer to List.
type Listed struct {
	Orders []Summary `json:"orders"`
	// Position is that of the log's last commit that the list has.
	Position uint64 `json:"position"`
}

// The stages of an order. One that was shipped on account may not be paid.
const (
	StagePlaced    = "placed"
	StagePaid      = "paid"
	StageShipped   = "shipped"
	StageCancelled = "cancelled"
)

// RequestType returns "order".
func (Find) RequestType() string { return "order" }

// RequestType returns "orders".
func (List) RequestType() string { return "orders" }
