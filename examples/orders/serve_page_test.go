package main_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/checkout"
	"github.com/headwater-go/headwater/testutil"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// ask sends a request with a JSON body and returns the answer's, of a status.
func ask(t *testing.T, ctx context.Context, method, url, body string, status int) string {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(url+body)))))
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("%s %s: %s, %v\n%s", method, url, answer.Status, err, data)
	}
	return string(data)
}

// TestServePage has the whole as a process: an order over HTTP that is paid and
// shipped, the live feed, the figures, and an end by SIGTERM while somebody listens.
func TestServePage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := serveChild(t, nil, "-http", "127.0.0.1:0", "-spans", "-deadline", "1h")
	page := "http://" + p.http + "/"
	requireContains(t, ask(t, ctx, "GET", page, "", 200), "<html", "Orders")

	placed := ask(t, ctx, "POST", page+"orders", `{"id":"1","customer":"ALFKI","card":"tok","lines":[{"product":"Chai","unitPrice":"18.00","quantity":2}]}`, 201)
	requireContains(t, placed, `"stage":"placed"`, `"amount":"36.00"`)
	r, err := http.NewRequestWithContext(ctx, "GET", page+"events?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Body.Close()
	lines, paid := bufio.NewScanner(feed.Body), false
	for !paid && lines.Scan() {
		paid = strings.Contains(lines.Text(), `"order.paid"`)
	}
	if !paid {
		t.Fatalf("the feed ended: %v", lines.Err())
	}
	requireContains(t, ask(t, ctx, "GET", page+"orders/1", "", 200), `"stage":"paid"`)
	requireContains(t, ask(t, ctx, "POST", page+"orders/1/ship", `{}`, 200), `"stage":"shipped"`)
	requireContains(t, ask(t, ctx, "POST", page+"orders/1/cancel", `{}`, 409), "shipped")
	requireContains(t, ask(t, ctx, "GET", "http://"+p.health+"/health/ready", "", 200), `"status": "ready"`, `"part": "background payments"`, `"part": "background deadlines"`)
	figures := ask(t, ctx, "GET", "http://"+p.health+"/metrics", "", 200)
	requireContains(t, figures, `headwater_append_events_total{kind="payment",service="payments"}`, `headwater_projection_position{projection="from-payments",service="orders"}`)
	p.terminate(t)
	requireContains(t, p.printed(), "msg=span", `name="append checkout"`)
}

// TestServeTrace follows what placing an order leads to: through both services, it is
// one trace.
func TestServeTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	server := testutil.Server(t)
	svc := startServing(t, server, t.TempDir(), orders.Serving{Deadline: time.Hour, Spans: provider})
	d := newDesk(t, server)
	d.place("1", "tok")
	d.awaitCheckouts(checkout.Done{}.EventType(), "1")
	d.awaitEffects()
	stop(t, svc)

	traces := make(map[string][]string)
	for _, s := range spans.GetSpans() {
		id := s.SpanContext.TraceID().String()
		traces[id] = append(traces[id], s.Name)
	}
	for _, names := range traces {
		if !slices.Contains(names, "orders.command.order.place") {
			continue
		}
		requireContains(t, fmt.Sprint(names), "append order", "process order.placed", "append checkout", "process checkout.payment-wanted",
			"payments.command.payment.request", "append payment", "process payment.requested", "process payment.captured",
			"process checkout.order-pay-wanted", "process checkout.done")
		return
	}
	t.Errorf("there is no such trace: %v", traces)
}
