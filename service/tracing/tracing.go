package tracing

import (
	"context"

	"github.com/headwater-go/headwater/eventstore"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracer makes spans. Its methods may be called from several goroutines.
type Tracer struct{ tracer trace.Tracer }

// New returns a tracer whose spans go to a provider; nil: nowhere.
func New(provider trace.TracerProvider) *Tracer {
	if provider == nil {
		provider = noop.NewTracerProvider()
	}
	return &Tracer{provider.Tracer("github.com/headwater-go/headwater/service/tracing", trace.WithSchemaURL(semconv.SchemaURL))}
}

// Start begins a span, which the caller ends. It is a child of the span in the context,
// and if there is none, of that in the context's metadata, see
// [eventstore.WithMetadata]. With the context that it returns, appends store the span's
// trace context and clients send it.
func (t *Tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = continuing(ctx, eventstore.Metadata(ctx))
	}
	ctx, span := t.tracer.Start(ctx, name, opts...)
	return passedOn(ctx), span
}

// startFrom begins a span that goes on from what metadata says, whatever span the
// context has.
func (t *Tracer) startFrom(ctx context.Context, metadata map[string]string, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx = continuing(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), metadata)
	ctx, span := t.tracer.Start(ctx, name, opts...)
	return passedOn(ctx), span
}

// The keys of metadata are those of the headers.
var w3c propagation.TraceContext

func continuing(ctx context.Context, metadata map[string]string) context.Context {
	return w3c.Extract(ctx, propagation.MapCarrier(metadata))
}

// maxTraceState is how many bytes of a trace state are passed on, as many as W3C asks for
// and services take. Whoever asks can choose them.
const maxTraceState = 512

// passedOn puts the context's span into its metadata.
func passedOn(ctx context.Context) context.Context {
	said := propagation.MapCarrier{}
	w3c.Inject(ctx, said)
	if len(said) == 0 {
		return ctx // there is no trace
	}
	if len(said[eventstore.TraceState]) > maxTraceState {
		delete(said, eventstore.TraceState) // a log would keep it for ever
	}
	if said[eventstore.TraceState] == "" && eventstore.Metadata(ctx)[eventstore.TraceState] != "" {
		said[eventstore.TraceState] = "" // that of another span
	}
	return eventstore.WithMetadata(ctx, said)
}

// failed notes what went wrong, if it is not "".
func failed(span trace.Span, what string, needsHelp bool) {
	if what == "" {
		return
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(what))
	if needsHelp {
		span.SetStatus(codes.Error, "")
	}
}

// panicked says so of a span, unless what it is about has returned. It is for defer,
// and does not recover, which would be to say what the panic said.
func panicked(span trace.Span, returned *bool) {
	if !*returned {
		failed(span, "panic", true)
	}
	span.End()
}

func streamKind(kind string) attribute.KeyValue {
	return attribute.String("headwater.stream.kind", kind)
}

func streamVersion(version uint64) attribute.KeyValue {
	return attribute.Int64("headwater.stream.version", int64(version))
}

func position(position uint64) attribute.KeyValue {
	return attribute.Int64("headwater.position", int64(position))
}
