package tracing

import (
	"context"

	"github.com/headwater-go/headwater/service"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Request makes a span of a command or query that a service executes. It goes on from
// the trace that the request names. It is a [service.Around], for
// [service.RespondOptions].
func (t *Tracer) Request(ctx context.Context, r service.Request, next func(context.Context) error) error {
	ctx, span := t.startFrom(ctx, r.Metadata, r.Subject, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		semconv.RPCSystemNameKey.String("nats"), semconv.RPCMethod(r.Subject),
	))
	returned := false
	defer panicked(span, &returned)
	err := next(ctx)
	returned = true
	outcome := r.Outcome(err)
	span.SetAttributes(semconv.RPCResponseStatusCode(outcome))
	if err != nil {
		failed(span, outcome, !theirs[outcome])
	}
	return err
}

// theirs are the outcomes that are about the request, and not about the service.
var theirs = map[string]bool{
	"rejected": true, "not-found": true, "conflict": true, "bad-request": true, "too-large": true,
}
