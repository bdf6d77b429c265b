package tracing

import (
	"context"
	"errors"

	"github.com/headwater-go/headwater/projection"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Handle returns what makes a span of each event that a projection handles, for
// [projection.Options]. It goes on from the trace that the event was stored with. An
// event that is handled again has one more span, and one that a rebuild handles none.
func (t *Tracer) Handle(name string) func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
	return func(ctx context.Context, at projection.Event, next func(context.Context) error) error {
		if at.Replaying {
			return next(ctx)
		}
		ctx, span := t.startFrom(ctx, at.Metadata, "process "+at.Type, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			natsMessaging, semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess,
			semconv.MessagingConsumerGroupName(name), semconv.CloudEventsEventType(at.Type),
			streamKind(at.Stream.Kind), streamVersion(at.Version), position(at.Position),
		))
		returned := false
		defer panicked(span, &returned)
		err := next(ctx)
		returned = true
		if err != nil {
			failed(span, handlerFailure(err), true)
		}
		return err
	}
}

var natsMessaging = semconv.MessagingSystemKey.String("nats")

func handlerFailure(err error) string {
	var panicked *projection.PanicError
	if errors.As(err, &panicked) {
		return "panic"
	}
	return wrong(err)
}
