package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/headwater-go/headwater/eventstore"
)

// QueryOptions are what a query may be answered with. The zero value of each field is
// its default.
type QueryOptions struct {
	// Wait waits until what the query reads has a commit, as [projection.Projection.Wait]
	// does. Default: a query that is not to be answered before a position is
	// refused.
	//
	// [projection.Projection.Wait]: https://pkg.go.dev/github.com/headwater-go/headwater/projection#Projection.Wait
	Wait func(ctx context.Context, at eventstore.Revision) error
	// Metadata describes the endpoint for tools.
	Metadata map[string]string
}

// Query returns the endpoint of queries of type Q, which answers with what a function
// returns. The function may be called by several goroutines at once.
//
// A request is the query as JSON, without fields that it does not know, and the
// headers of [Handle] but for the first three, and
//
//	Hw-Not-Before  the revision of an answer to a command, or a position: the read
//	               model must have that commit
//
// The answer is the result as JSON. Errors of the function are answered as those of
// commands are; one that matches [ErrNotFound], or one of [RespondOptions.Errors], as a
// [Rejection].
func Query[Q Typed, R any](answer func(ctx context.Context, query Q) (R, error), opts *QueryOptions) Endpoint {
	if opts == nil {
		opts = &QueryOptions{}
	}
	var zero Q
	name := zero.RequestType()
	return Endpoint{
		subject: "query." + name, metadata: opts.Metadata, wrong: checkWord("query", name),
		answer: func(ctx context.Context, r *request) ([]byte, error) {
			var query Q
			if err := decodeStrictly(r.msg.Data, &query); err != nil {
				return nil, err
			}
			if err := r.await(ctx, opts.Wait); err != nil {
				return nil, err
			}
			result, err := answer(ctx, query)
			if err != nil {
				return nil, err
			}
			return r.result(result)
		},
	}
}

// await waits until a query may be answered.
func (r *request) await(ctx context.Context, wait func(context.Context, eventstore.Revision) error) error {
	at, asked, err := r.notBefore()
	switch {
	case err != nil || !asked:
		return err
	case wait == nil:
		return &eventstore.InvalidError{What: "header " + hdrNotBefore, Reason: "is not for this query, which does not wait"}
	}
	return wait(ctx, at)
}

func (r *request) result(result any) ([]byte, error) {
	data, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("%w: the result has no JSON form: %w", ErrInternal, err)
	}
	if len(data) > r.largest {
		return nil, tooLarge("answer", len(data), r.largest)
	}
	return data, nil
}
