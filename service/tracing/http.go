package tracing

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HTTP returns a handler that makes a span of each request. It goes on from the trace
// that the request's headers name, which whoever asks can choose. The route is the
// pattern of an [http.ServeMux], which is to be the next handler for that; others may
// come in between that do not replace the request.
func (t *Tracer) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := methodOf(r)
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.Start(ctx, method.Value.AsString(), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(method))
		returned := false
		defer panicked(span, &returned)
		answer := &answer{ResponseWriter: w}
		r = r.WithContext(ctx)
		next.ServeHTTP(answer, r)
		returned = true
		if route := routeOf(r); route != "" {
			span.SetName(method.Value.AsString() + " " + route)
			span.SetAttributes(semconv.HTTPRoute(route))
		}
		code := answer.status()
		span.SetAttributes(semconv.HTTPResponseStatusCode(code))
		if code >= http.StatusInternalServerError {
			failed(span, strconv.Itoa(code), true)
		}
	})
}

// methodOf returns the method, if it is one that HTTP knows: others are text from
// outside.
func methodOf(r *http.Request) attribute.KeyValue {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return semconv.HTTPRequestMethodKey.String(r.Method)
	}
	return semconv.HTTPRequestMethodOther
}

// routeOf returns the path of the pattern that a mux found for the request.
func routeOf(r *http.Request) string {
	pattern := r.Pattern
	if _, rest, ok := strings.Cut(pattern, " "); ok {
		pattern = strings.TrimLeft(rest, " \t")
	}
	if i := strings.IndexByte(pattern, '/'); i > 0 {
		pattern = pattern[i:] // without the host
	}
	return pattern
}

// answer notes the status of an answer.
type answer struct {
	http.ResponseWriter
	code int
}

// WriteHeader is that of [http.ResponseWriter].
func (a *answer) WriteHeader(code int) {
	hint := code < http.StatusOK && code != http.StatusSwitchingProtocols // the status follows
	if a.code == 0 && !hint {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write is that of [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.code = a.status()
	return a.ResponseWriter.Write(p)
}

// Flush is that of [http.Flusher].
func (a *answer) Flush() {
	a.code = a.status()
	_ = http.NewResponseController(a.ResponseWriter).Flush() // who wants the error uses that too
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) status() int {
	return cmp.Or(a.code, http.StatusOK)
}
