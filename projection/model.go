package projection

import (
	"context"
	"sync"
)

// Model is a database that holds the read models of projections and, in the same
// transactions, where each projection stands: a [File], a [Memory], an [Effects],
// or another one. Package projection/modeltest tests that one does what is said
// here. T is what handlers get to change the read model with.
//
// A model may be used from several goroutines, and for several projections unless
// it says otherwise.
type Model[T any] interface {
	// Update runs f in a transaction, for a projection, and commits it if f
	// returns nil. If f returns an error nothing of it stays, and Update returns
	// that error; so it does if the transaction cannot be committed. Of two that
	// read the same record one waits for the other, or fails. f is called once.
	Update(ctx context.Context, projection string, f func(Tx[T]) error) error
	// Records runs f on the records of a projection as they are at one moment. It
	// changes none.
	Records(ctx context.Context, projection string, f func(Records) error) error
	// Traits says what kind of model it is.
	Traits() Traits
}

// Traits are what a projection needs to know of its model.
type Traits struct {
	// Shared says that several processes use it at a time. One of them projects
	// then, and another takes over when that one is gone.
	Shared bool
	// Parallel says that transactions may run at the same time, so that a
	// projection may have several workers.
	Parallel bool
	// Outside says that what handlers do is not part of the transaction.
	Outside bool
}

// Records are what a projection remembers: small values under keys of at most 400
// bytes of text.
type Records interface {
	// Get returns a record, nil if there is none. In an Update nobody else
	// changes it until the transaction ends. The caller does not change what it
	// gets.
	Get(key string) ([]byte, error)
	// List returns the records whose keys begin with prefix.
	List(prefix string) (map[string][]byte, error)
}

// Tx is a transaction on a projection's records and its read model. It is used
// by one goroutine.
//
// A read model has generations, numbered from 1. One of them is live: it is what
// readers see. Another may be built beside it.
type Tx[T any] interface {
	Records
	// Put sets a record; a nil value removes it. The caller does not change the
	// value until the transaction ends.
	Put(key string, value []byte) error
	// Data returns what handlers change a generation with.
	Data(generation uint64) (T, error)
	// Create makes an empty generation.
	Create(generation uint64) error
	// Show makes a generation that is there what readers see, and 0 none.
	Show(generation uint64) error
	// Drop removes a generation that is there, and that readers do not see.
	Drop(generation uint64) error
}

// A claimer is a model that knows which projections run on it: two of the same name
// would only be in each other's way.
type claimer interface {
	claim(projection string) bool
	disclaim(projection string)
}

// claims are those of a model.
type claims struct {
	mu  sync.Mutex
	all map[string]bool
}

func (c *claims) claim(projection string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all[projection] {
		return false
	}
	if c.all == nil {
		c.all = make(map[string]bool)
	}
	c.all[projection] = true
	return true
}

func (c *claims) disclaim(projection string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, projection)
}

// A flusher is a model that does not keep everything on the disk at once.
type flusher interface {
	Flush(ctx context.Context) error
}

// A swapper is a model that sets records, if those that were read are the same still,
// with less to do than in a transaction. A nil value removes one. If they are not the
// error is errMoved.
type swapper interface {
	swap(ctx context.Context, projection string, read, written map[string][]byte) error
}
