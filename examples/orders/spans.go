package main

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/sdk/trace"
)

// spanLog logs spans. A program that has a collector would send them there.
type spanLog struct{ log *slog.Logger }

// spansTo returns a provider of spans that are logged.
func spansTo(log *slog.Logger) *trace.TracerProvider {
	return trace.NewTracerProvider(trace.WithSyncer(spanLog{log}))
}

// ExportSpans logs spans that have ended.
func (l spanLog) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	for _, s := range spans {
		l.log.InfoContext(ctx, "span", "trace", s.SpanContext().TraceID(), "name", s.Name(), "span", s.SpanContext().SpanID(),
			"parent", s.Parent().SpanID(), "took", s.EndTime().Sub(s.StartTime()), "failed", s.Status().Description)
	}
	return nil
}

// Shutdown does nothing.
func (spanLog) Shutdown(context.Context) error { return nil }
