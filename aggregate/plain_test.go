package aggregate_test

import (
	"context"
	"iter"

	"github.com/headwater-go/headwater/eventstore"
)

// plain is a store as one that replaces eventstore's would be: what its events
// and revisions hold is what their fields show.
type plain struct{ *eventstore.Store }

func (p plain) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	if at, ok := expected.(eventstore.Revision); ok {
		known, err := p.known(ctx, stream, at)
		if err != nil {
			return eventstore.Revision{}, err
		}
		expected = known
	}
	at, err := p.Store.Append(ctx, stream, expected, events, opts)
	return eventstore.Revision{Version: at.Version, Position: at.Position, CommitID: at.CommitID, Replayed: at.Replayed}, err
}

func (p plain) Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		o := *opts
		var err error
		if o.After, err = p.known(ctx, stream, opts.After); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		for e, err := range p.Store.Read(ctx, stream, &o) {
			if !yield(eventstore.Event{
				EventData: e.EventData, Stream: e.Stream, Version: e.Version, Position: e.Position,
				CommitID: e.CommitID, Time: e.Time, Recorded: e.Recorded, Metadata: e.Metadata,
			}, err) {
				return
			}
		}
	}
}

// known returns the revision that says the same to the store below.
func (p plain) known(ctx context.Context, stream eventstore.StreamID, at eventstore.Revision) (eventstore.Revision, error) {
	if at.Position == 0 {
		return eventstore.Revision{}, nil
	}
	for e, err := range p.Store.Read(ctx, stream, &eventstore.ReadOptions{From: at.Version, To: at.Version}) {
		if err == nil && e.Position != at.Position {
			break
		}
		return e.Revision(), err
	}
	return eventstore.Revision{}, &eventstore.InvalidError{What: "revision", Value: at.String(), Reason: "is not of the stream"}
}
