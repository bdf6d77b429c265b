package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/headwater-go/headwater/testutil"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The span in the context comes before that in its metadata, and each new one is put
// there.
func TestStart(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	ctx := eventstore.WithMetadata(t.Context(), map[string]string{
		eventstore.User: "ann", eventstore.TraceParent: "00-" + traceID + "-" + outsideID + "-01", eventstore.TraceState: "a=1",
	})
	ctx, first := tracer.Start(ctx, "first", trace.WithSpanKind(trace.SpanKindInternal))
	inner, second := tracer.Start(ctx, "second")
	if got := eventstore.Metadata(inner); got[eventstore.TraceParent] != traceParent(second.SpanContext()) || got[eventstore.TraceState] != "a=1" || got[eventstore.User] != "ann" {
		t.Errorf("the metadata is %q", got)
	}
	second.End()
	first.End()
	if got := spans.one(t, "first").Parent.SpanID().String(); got != outsideID {
		t.Errorf("the first is a child of %s", got)
	}
	if got := spans.one(t, "second").Parent.SpanID(); got != first.SpanContext().SpanID() {
		t.Errorf("the second is a child of %s", got)
	}

	// A state that another trace had does not stay.
	other := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx, third := tracer.Start(trace.ContextWithSpanContext(inner, other), "third")
	third.End()
	if got := eventstore.Metadata(ctx); got[eventstore.TraceState] != "" || !strings.HasPrefix(got[eventstore.TraceParent], "00-01") {
		t.Errorf("the metadata is %q", got)
	}
	// What is no trace is none.
	_, fourth := tracer.Start(eventstore.WithMetadata(t.Context(), map[string]string{eventstore.TraceParent: "hello"}), "fourth")
	fourth.End()
	if spans.one(t, "fourth").Parent.IsValid() {
		t.Error("it has a parent")
	}
}

// What is the service's fault is an error, and what was asked for is none. Nothing says
// what an error says.
func TestRequestOutcomes(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	on := testutil.Server(t)
	var fails atomic.Pointer[error]
	p := run(t, on, tracer, "cash", "till", handlePay, service.Query(func(context.Context, sum) (int, error) {
		return 0, *fails.Load()
	}, nil))
	for name, row := range map[string]struct {
		err    error
		status codes.Code
	}{
		"ok":              {nil, codes.Unset},
		"rejected":        {errNothing, codes.Unset},
		"not-found":       {fmt.Errorf("anna.schmidt: %w", service.ErrNotFound), codes.Unset},
		"bad-request":     {&eventstore.InvalidError{What: "anna.schmidt", Reason: "x"}, codes.Unset},
		"conflict":        {&eventstore.ConflictError{Expected: eventstore.Any, Stream: eventstore.StreamID{Kind: "a", ID: till}}, codes.Unset},
		"too-large":       {&eventstore.TooLargeError{Stream: eventstore.StreamID{Kind: "a", ID: till}}, codes.Unset},
		"internal":        {errors.New("anna.schmidt"), codes.Error},
		"unavailable":     {eventstore.ErrUnavailable, codes.Error},
		"behind":          {&projection.BehindError{Err: errors.New("anna.schmidt")}, codes.Error},
		"parked":          {&projection.ParkedError{}, codes.Error},
		"stopped":         {&projection.StoppedError{Err: errors.New("anna.schmidt")}, codes.Error},
		"outcome-unknown": {&eventstore.UnknownOutcomeError{Cause: errors.New("anna.schmidt")}, codes.Error},
	} {
		spans.Reset()
		fails.Store(&row.err)
		answer, err := on.Connect()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answer.Request("cash.query.ask.sum", []byte("{}"), patience); err != nil {
			t.Error(err)
		}
		answer.Close()
		span := spans.one(t, "cash.query.ask.sum")
		wrong := name
		if row.err == nil {
			wrong = ""
		}
		if says(span, "rpc.response.status_code") != name || says(span, "error.type") != wrong || span.Status.Code != row.status {
			t.Errorf("%s: %v %v", name, span.Attributes, span.Status)
		}
		wantNoPerson(t, spans.GetSpans())
	}
	// A panic is answered, and its span ends.
	spans.Reset()
	if _, err := p.client.Execute(t.Context(), till, Pay{Amount: -1}, nil); !errors.Is(err, service.ErrInternal) {
		t.Errorf("got %v", err)
	}
	if span := spans.one(t, "cash.command.till.pay"); says(span, "error.type") != "panic" || span.Status.Code != codes.Error || len(span.Events) > 0 {
		t.Errorf("%v %v %v", span.Attributes, span.Status, span.Events)
	}
	wantNoPerson(t, spans.GetSpans())
}

type sum struct{}

func (sum) RequestType() string { return "sum" }

// Each attempt of a handler is a span, and what a rebuild handles again is none.
func TestHandle(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	store := testutil.Store(t)
	money := aggregate.NewRepository[Money](tracer.Store(store), "till", codec, nil)
	if _, _, err := money.Execute(t.Context(), till, Pay{Amount: 5}, nil); err != nil {
		t.Fatal(err)
	}
	stored := spans.one(t, "append till")
	spans.Reset()

	var attempts atomic.Int64
	replayed := make(chan string, 1)
	handlers := projection.From("till", codec, projection.On(func(ctx context.Context, total *int, e Paid, at projection.Event) error {
		if at.Replaying {
			replayed <- trace.SpanContextFromContext(ctx).SpanID().String()
		}
		switch attempts.Add(1) {
		case 1:
			return fmt.Errorf("anna.schmidt: %w", eventstore.ErrUnavailable)
		case 2:
			panic("anna.schmidt")
		case 3:
			return errNothing
		}
		*total += e.Amount
		return nil
	}))
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	p, err := projection.New("sum", store, projection.NewMemory[int](file, nil), handlers, &projection.Options{Around: tracer.Handle("sum")})
	if err != nil {
		t.Fatal(err)
	}
	project(t, p)
	if err := p.Wait(t.Context(), eventstore.Revision{Position: 1}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, span := range spans.GetSpans() {
		got = append(got, fmt.Sprint(span.Name, " ", says(span, "error.type"), " ", span.Status.Code))
		if span.Parent.SpanID() != stored.SpanContext.SpanID() || len(span.Events) > 0 {
			t.Errorf("%s is a child of %s and has %v", span.Name, span.Parent.SpanID(), span.Events)
		}
	}
	if want := "process till.paid unavailable Error, process till.paid panic Error, process till.paid _OTHER Error, process till.paid  Unset"; strings.Join(got, ", ") != want {
		t.Errorf("got %q", got)
	}
	wantNoPerson(t, spans.GetSpans())

	spans.Reset()
	if _, err := p.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if id := <-replayed; id != (trace.SpanID{}).String() || len(spans.GetSpans()) > 0 {
		t.Errorf("handled again in span %s: %s", id, spans)
	}
}

// A store that is traced is the same store.
func TestStore(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	store := testutil.Store(t)
	traced := tracer.Store(store)
	if got := traced.(interface{ Identity() string }).Identity(); got != store.Identity() {
		t.Errorf("it is log %q, not %q", got, store.Identity())
	}
	if got := tracer.Store(bare{store}).(interface{ Identity() string }).Identity(); got != "" {
		t.Errorf("a store without an identity has %q", got)
	}
	id := eventstore.StreamID{Kind: "till", ID: till}
	events := []eventstore.EventData{{Type: "a"}, {Type: "b"}}
	at, err := traced.Append(t.Context(), id, eventstore.NoStream, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	if span := spans.one(t, "append till"); says(span, "messaging.batch.message_count") != "2" || says(span, "headwater.stream.version") != "2" || says(span, "headwater.position") != "1" {
		t.Errorf("%v", span.Attributes)
	}
	for want, c := range map[string]struct {
		expected eventstore.Expectation
		events   []eventstore.EventData
		ctx      func() context.Context
		status   codes.Code
	}{
		"conflict":    {eventstore.NoStream, []eventstore.EventData{{Type: "c"}}, t.Context, codes.Unset},
		"bad-request": {at, nil, t.Context, codes.Error},
		"canceled": {at, events, func() context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx
		}, codes.Error},
	} {
		spans.Reset()
		if _, err := traced.Append(c.ctx(), id, c.expected, c.events, nil); err == nil {
			t.Errorf("%s: no error", want)
		}
		if span := spans.one(t, "append till"); says(span, "error.type") != want || span.Status.Code != c.status {
			t.Errorf("%s: %v %v", want, span.Attributes, span.Status)
		}
		wantNoPerson(t, spans.GetSpans())
	}

	spans.Reset()
	for e, err := range traced.Read(t.Context(), id, nil) { // and no more than one
		if err != nil || e.Type != "a" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	if span := spans.one(t, "read till"); says(span, "messaging.batch.message_count") != "1" || span.Status.Code != codes.Unset {
		t.Errorf("%v %v", span.Attributes, span.Status)
	}
	spans.Reset()
	for _, err := range traced.Read(t.Context(), eventstore.StreamID{Kind: "till"}, nil) {
		if !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
	if span := spans.one(t, "read till"); says(span, "error.type") != "bad-request" || span.Status.Code != codes.Error {
		t.Errorf("%v %v", span.Attributes, span.Status)
	}
}

// bare is a store without more than a repository needs.
type bare struct{ store *eventstore.Store }

func (b bare) Append(ctx context.Context, stream eventstore.StreamID, expected eventstore.Expectation, events []eventstore.EventData, opts *eventstore.AppendOptions) (eventstore.Revision, error) {
	return b.store.Append(ctx, stream, expected, events, opts)
}

func (b bare) Read(ctx context.Context, stream eventstore.StreamID, opts *eventstore.ReadOptions) iter.Seq2[eventstore.Event, error] {
	return b.store.Read(ctx, stream, opts)
}

// Snapshots that were taken without traces are used with them.
func TestStoreKeepsSnapshots(t *testing.T) {
	t.Parallel()
	tracer, _ := record(t)
	store := testutil.Store(t)
	snaps, err := snapshot.Open(filepath.Join(t.TempDir(), "snapshots"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snaps.Close() })
	opts := &aggregate.Options{Snapshots: snaps, Policy: snapshot.Every(1)}
	for _, s := range []aggregate.Store{store, tracer.Store(store)} {
		money := aggregate.NewRepository[Money](s, "till", codec, opts)
		if _, _, err := money.Execute(t.Context(), till, Pay{Amount: 1}, nil); err != nil {
			t.Fatal(err)
		}
		if err := snaps.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := snaps.Stats(); got.Hits != 1 || got.OtherLog != 0 || got.Saved != 2 {
		t.Errorf("%+v", got)
	}
}

// Each row is a request, and what its span is.
func TestHTTP(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t)
	mux := http.NewServeMux()
	answers := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if got := eventstore.Metadata(r.Context())[eventstore.TraceParent]; got != traceParent(trace.SpanContextFromContext(r.Context())) {
				t.Errorf("the metadata has %q", got)
			}
			if code > 0 {
				w.WriteHeader(code)
			}
			_, _ = io.WriteString(w, "hello")
		}
	}
	mux.HandleFunc("GET /tills/{id}", answers(0))
	mux.HandleFunc("POST example.org/tills/{id}", answers(http.StatusCreated))
	mux.HandleFunc("/any/", answers(http.StatusTeapot))
	mux.HandleFunc("GET /broken", answers(http.StatusBadGateway))
	mux.HandleFunc("GET /hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusInternalServerError) // too late
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("anna.schmidt") })
	for _, row := range []struct {
		method, path string
		name, route  string
		status       string
		wrong        string
	}{
		{"GET", "/tills/" + till + "?q=schmidt", "GET /tills/{id}", "/tills/{id}", "200", ""},
		{"HEAD", "/tills/" + till, "HEAD /tills/{id}", "/tills/{id}", "200", ""},
		{"POST", "/tills/" + till, "POST /tills/{id}", "/tills/{id}", "201", ""},
		{"DELETE", "/any/schmidt", "DELETE /any/", "/any/", "418", ""},
		{"SCHMIDT", "/any/", "_OTHER /any/", "/any/", "418", ""},
		{"GET", "/schmidt", "GET", "", "404", ""},
		{"GET", "/broken", "GET /broken", "/broken", "502", "502"},
		{"GET", "/hints", "GET /hints", "/hints", "202", ""},
		{"GET", "/stream", "GET /stream", "/stream", "200", ""},
		{"GET", "/panic", "GET", "", "", "panic"},
	} {
		spans.Reset()
		r := httptest.NewRequestWithContext(t.Context(), row.method, row.path, nil)
		r.Host = "example.org"
		func() {
			defer func() {
				if p := recover(); (p != nil) != (row.wrong == "panic") {
					t.Errorf("%s: %v", row.path, p)
				}
			}()
			tracer.HTTP(mux).ServeHTTP(httptest.NewRecorder(), r)
		}()
		span := spans.one(t, row.name)
		if says(span, "http.route") != row.route || says(span, "http.response.status_code") != row.status || says(span, "error.type") != row.wrong ||
			(span.Status.Code == codes.Error) != (row.wrong != "") {
			t.Errorf("%s %s: %v %v", row.method, row.path, span.Attributes, span.Status)
		}
		wantNoPerson(t, spans.GetSpans())
	}
}

// A handler of one trace does not continue that of the program that runs it.
func TestOwnTraces(t *testing.T) {
	t.Parallel()
	tracer, spans := record(t, sdk.WithSampler(sdk.AlwaysSample()))
	ctx, program := tracer.Start(t.Context(), "the program")
	defer program.End()
	err := tracer.Handle("sum")(ctx, projection.Event{Event: eventstore.Event{EventData: eventstore.EventData{Type: "x"}}}, func(context.Context) error { return nil })
	if err != nil {
		t.Error(err)
	}
	if err := tracer.Request(ctx, service.Request{Subject: "a.query.b"}, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"process x", "a.query.b"} {
		if span := spans.one(t, name); span.Parent.IsValid() {
			t.Errorf("%s is a child of %s", name, span.Parent.SpanID())
		}
	}
}

// What strangers write into headers is not kept in the log for ever, if it is long.
func TestLongTraceState(t *testing.T) {
	t.Parallel()
	tracer, _ := record(t)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for members, want := range map[int]bool{1: true, 2: true, 30: false} {
		var state []string
		for i := range members {
			state = append(state, fmt.Sprintf("vendor%d=%s", i, strings.Repeat("x", 200)))
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("traceparent", parent)
		r.Header.Set("tracestate", strings.Join(state, ","))
		var got map[string]string
		tracer.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = eventstore.Metadata(r.Context())
		})).ServeHTTP(httptest.NewRecorder(), r)
		if !strings.HasPrefix(got[eventstore.TraceParent], parent[:36]) || (got[eventstore.TraceState] != "") != want {
			t.Errorf("%d members: %v", members, got)
		}
	}
}
