package tracing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/tracing"
	"github.com/headwater-go/headwater/testutil"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID   = "4bf92f3577b34da6a3ce929d0e0e4736"
	outsideID = "00f067aa0ba902b7"
	till      = "anna.schmidt@example.org" // a name of a person
)

// A shop takes payments over HTTP, has a service of tills execute them, and what was
// paid is sent to a service of vaults by a process manager.
type shop struct {
	web           *httptest.Server
	tills, vaults process
}

func newShop(t *testing.T, tracer *tracing.Tracer) shop {
	t.Helper()
	on := testutil.Server(t)
	s := shop{tills: run(t, on, tracer, "cash", "till", handlePay), vaults: run(t, on, tracer, "bank", "vault", handleStore)}
	effects := projection.NewEffects(projection.NewMemory[int](nil, nil))
	moving, err := projection.New("moving", s.tills.log, effects, projection.From("till", codec,
		projection.On(func(ctx context.Context, _ struct{}, e Paid, at projection.Event) error {
			_, err := s.vaults.client.Execute(ctx, at.Stream.ID, Store{e.Amount}, &service.CommandOptions{CommandID: at.CommandID("")})
			return err
		})), &projection.Options{Around: tracer.Handle("moving")})
	if err != nil {
		t.Fatal(err)
	}
	project(t, moving)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tills/{id}/payments", func(w http.ResponseWriter, r *http.Request) {
		ctx := eventstore.WithMetadata(r.Context(), map[string]string{eventstore.User: "anna.schmidt"})
		_, err := s.tills.client.Execute(ctx, r.PathValue("id"), Pay{Amount: 5, By: "anna.schmidt"}, &service.CommandOptions{CommandID: "schmidt-1"})
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
	})
	s.web = httptest.NewServer(tracer.HTTP(mux))
	t.Cleanup(s.web.Close)
	return s
}

// pay pays over HTTP, and returns what was stored because of that in the end.
func (s shop) pay(t *testing.T, header http.Header) (paid, stored eventstore.Event) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.web.URL+"/tills/"+till+"/payments?by=anna.schmidt", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := s.web.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("answered %s", answer.Status)
	}
	eventually(t, func() error {
		if stored = last(t, s.vaults.log, "vault", till); stored.Version == 0 {
			return fmt.Errorf("nothing is stored")
		}
		return nil
	})
	return last(t, s.tills.log, "till", till), stored
}

func outside(flags string) http.Header {
	return http.Header{"Traceparent": {"00-" + traceID + "-" + outsideID + "-" + flags}, "Tracestate": {"vendor=1"}}
}

// From a request over HTTP to what another service stored because of it, everything is
// one trace, and each is the child of what led to it.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	paid, stored := newShop(t, tracer).pay(t, outside("01"))

	chain := []struct {
		name string
		kind trace.SpanKind
		says map[string]string
	}{
		{"POST /tills/{id}/payments", trace.SpanKindServer, map[string]string{"http.request.method": "POST", "http.route": "/tills/{id}/payments", "http.response.status_code": "201"}},
		{"cash.command.till.pay", trace.SpanKindServer, map[string]string{"rpc.system.name": "nats", "rpc.method": "cash.command.till.pay", "rpc.response.status_code": "ok"}},
		{"append till", trace.SpanKindProducer, map[string]string{"messaging.system": "nats", "messaging.operation.name": "append", "headwater.stream.kind": "till", "headwater.stream.version": "1", "headwater.position": "1", "messaging.batch.message_count": "1"}},
		{"process till.paid", trace.SpanKindConsumer, map[string]string{"messaging.consumer.group.name": "moving", "cloudevents.event_type": "till.paid", "headwater.stream.kind": "till", "headwater.position": "1"}},
		{"bank.command.vault.store", trace.SpanKindServer, map[string]string{"rpc.method": "bank.command.vault.store"}},
		{"append vault", trace.SpanKindProducer, map[string]string{"headwater.stream.kind": "vault"}},
	}
	// Each command also reads its aggregate.
	eventually(t, func() error {
		if n := len(spans.GetSpans()); n != len(chain)+2 {
			return fmt.Errorf("there are %d spans: %s", n, spans)
		}
		return nil
	})
	t.Log(spans)
	parent := outsideID
	for _, want := range chain {
		span := spans.one(t, want.name)
		if span.Parent.SpanID().String() != parent || span.SpanKind != want.kind || span.Status.Description != "" {
			t.Errorf("%s is %v, a child of %s, not %s", span.Name, span.SpanKind, span.Parent.SpanID(), parent)
		}
		for key, value := range want.says {
			if got := says(span, attribute.Key(key)); got != value {
				t.Errorf("%s: %s is %q, want %q", span.Name, key, got, value)
			}
		}
		parent = span.SpanContext.SpanID().String()
	}
	for child, of := range map[string]string{"read till": "cash.command.till.pay", "read vault": "bank.command.vault.store"} {
		if got, want := spans.one(t, child).Parent.SpanID(), spans.one(t, of).SpanContext.SpanID(); got != want {
			t.Errorf("%s is a child of %s, not %s", child, got, want)
		}
	}
	for _, span := range spans.GetSpans() {
		if span.SpanContext.TraceID().String() != traceID || span.SpanContext.TraceState().String() != "vendor=1" {
			t.Errorf("%s is of trace %s, %q", span.Name, span.SpanContext.TraceID(), span.SpanContext.TraceState())
		}
	}
	for name, e := range map[string]eventstore.Event{"append till": paid, "append vault": stored} {
		if got, want := e.Metadata[eventstore.TraceParent], traceParent(spans.one(t, name).SpanContext); got != want || e.Metadata[eventstore.TraceState] != "vendor=1" {
			t.Errorf("%s stored %q %q, want %q", name, got, e.Metadata[eventstore.TraceState], want)
		}
	}
	wantNoPerson(t, spans.GetSpans())
}

// wantNoPerson checks that nothing of the spans names anybody.
func wantNoPerson(t *testing.T, spans tracetest.SpanStubs) {
	t.Helper()
	for _, span := range spans {
		if text := fmt.Sprint(span.Name, span.Attributes, span.Events, span.Status, span.Links); strings.Contains(strings.ToLower(text), "schmidt") {
			t.Errorf("a span says %s", text)
		}
	}
}

// Where nothing is recorded a trace from outside is passed on, with what it says of
// itself.
func TestNotSampled(t *testing.T) {
	t.Parallel()
	always := func(t *testing.T) (*tracing.Tracer, spans) { return record(t) }
	never := func(t *testing.T) (*tracing.Tracer, spans) { return record(t, sdk.WithSampler(sdk.NeverSample())) }
	none := func(t *testing.T) (*tracing.Tracer, spans) {
		_, spans := record(t)
		return tracing.New(nil), spans
	}
	for name, row := range map[string]struct {
		tracer func(*testing.T) (*tracing.Tracer, spans)
		header http.Header
		want   string // what the trace context of commits begins with, and ends in
		flags  string
	}{
		"a provider that samples nothing": {
			never,
			outside("01"), "00-" + traceID + "-", "-00",
		},
		"one that heeds the parent, which is not sampled": {
			always,
			outside("00"), "00-" + traceID + "-", "-00",
		},
		"no provider": {
			none,
			outside("01"), "00-" + traceID + "-" + outsideID, "-01",
		},
		"no provider, and a trace that is not sampled": {
			none,
			outside("00"), "00-" + traceID + "-" + outsideID, "-00",
		},
		"no provider and no trace": {
			none,
			nil, "", "",
		},
		"a provider that samples nothing, and no trace": {
			never,
			nil, "00-", "-00",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tracer, spans := row.tracer(t)
			paid, stored := newShop(t, tracer).pay(t, row.header)
			for _, e := range []eventstore.Event{paid, stored} {
				got := e.Metadata[eventstore.TraceParent]
				if !strings.HasPrefix(got, row.want) || !strings.HasSuffix(got, row.flags) || (got == "") != (row.want == "") {
					t.Errorf("%s stored %q", e.Type, got)
				}
			}
			if a, b := paid.Metadata[eventstore.TraceParent], stored.Metadata[eventstore.TraceParent]; a != "" && a[:35] != b[:35] {
				t.Errorf("%s and %s are two traces", a, b)
			}
			if n := len(spans.GetSpans()); n != 0 {
				t.Errorf("recorded %s", spans)
			}
		})
	}
}

// Without a trace from outside one begins here.
func TestNewTrace(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	newShop(t, tracer).pay(t, http.Header{"Traceparent": {"00-no-trace-01"}})
	eventually(t, func() error {
		if n := len(spans.GetSpans()); n != 8 {
			return fmt.Errorf("there are %d spans: %s", n, spans)
		}
		return nil
	})
	root := spans.one(t, "POST /tills/{id}/payments")
	if root.Parent.IsValid() {
		t.Errorf("it is a child of %s", root.Parent.SpanID())
	}
	for _, span := range spans.GetSpans() {
		if span.SpanContext.TraceID() != root.SpanContext.TraceID() {
			t.Errorf("%s is of another trace", span.Name)
		}
	}
}
