package tracing

import (
	"context"
	"errors"
	"iter"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Store returns a store that makes a span of each append and of each read. A commit is
// stored with the trace context of its append. Snapshots tell the log as they do
// without.
func (t *Tracer) Store(store aggregate.Store) aggregate.Store { return traced{store, t} }

type traced struct {
	aggregate.Store
	tracer *Tracer
}

// Identity is that of the store below, "" if it has none.
func (s traced) Identity() string {
	if s, ok := s.Store.(interface{ Identity() string }); ok {
		return s.Identity()
	}
	return ""
}

func (s traced) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	ctx, span := s.tracer.Start(ctx, "append "+stream.Kind, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		natsMessaging, semconv.MessagingOperationName("append"), semconv.MessagingOperationTypeSend,
		semconv.MessagingBatchMessageCount(len(events)), streamKind(stream.Kind),
	))
	returned := false
	defer panicked(span, &returned)
	at, err := s.Store.Append(ctx, stream, expected, events, opts)
	returned = true
	if err != nil {
		failed(span, wrong(err), !errors.Is(err, eventstore.ErrConflict))
		return at, err
	}
	span.SetAttributes(streamVersion(at.Version), position(at.Position))
	return at, nil
}

func (s traced) Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		ctx, span := s.tracer.Start(ctx, "read "+stream.Kind, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			natsMessaging, semconv.MessagingOperationName("read"), semconv.MessagingOperationTypeReceive, streamKind(stream.Kind),
		))
		returned, events := false, 0
		defer panicked(span, &returned)
		for e, err := range s.Store.Read(ctx, stream, opts) {
			if err != nil {
				failed(span, wrong(err), true)
			} else {
				events++
			}
			if !yield(e, err) {
				break
			}
		}
		span.SetAttributes(semconv.MessagingBatchMessageCount(events))
		returned = true
	}
}

// wrong returns the word for an error.
func wrong(err error) string {
	for _, kind := range kinds {
		if errors.Is(err, kind.err) {
			return kind.word
		}
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

var kinds = []struct {
	err  error
	word string
}{
	{eventstore.ErrConflict, "conflict"},
	{eventstore.ErrUnknownOutcome, "outcome-unknown"},
	{eventstore.ErrCommitIDReused, "commit-id-reused"},
	{eventstore.ErrInvalid, "bad-request"},
	{eventstore.ErrTooLarge, "too-large"},
	{eventstore.ErrCorrupt, "corrupt"},
	{eventstore.ErrDenied, "denied"},
	{eventstore.ErrUnknownType, "unknown-type"},
	{eventstore.ErrUnavailable, "unavailable"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
}
