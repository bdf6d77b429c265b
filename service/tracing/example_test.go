package tracing_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/tracing"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A payment over HTTP, which a service executes, is one trace.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "cash")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		log.Fatal(err)
	}

	recorder := tracetest.NewInMemoryExporter() // a program exports to its collector
	provider := sdk.NewTracerProvider(sdk.WithSyncer(recorder))
	tracer := tracing.New(provider)

	// The service.
	tills := aggregate.NewRepository[Money](tracer.Store(store), "till", codec, nil)
	responder, err := service.Respond(ctx, nc, "cash", []service.Endpoint{service.Handle[Pay](tills, nil)}, &service.RespondOptions{
		Around: []service.Around{tracer.Request},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer responder.Stop(ctx)

	// What asks it.
	cash, err := service.NewClient(nc, "cash", nil)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tills/{id}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := cash.Execute(r.Context(), r.PathValue("id"), Pay{Amount: 5}, nil); err != nil {
			log.Fatal(err)
		}
		w.WriteHeader(http.StatusCreated)
	})
	tracer.HTTP(mux).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", "/tills/front", nil))

	spans := recorder.GetSpans()
	for _, span := range spans {
		parent := "the first"
		for _, other := range spans {
			if other.SpanContext.SpanID() == span.Parent.SpanID() {
				parent = "in " + other.Name
			}
		}
		fmt.Printf("%s: %s, same trace: %v\n", span.Name, parent, span.SpanContext.TraceID() == spans[0].SpanContext.TraceID())
	}
	// Output:
	// read till: in cash.command.till.pay, same trace: true
	// append till: in cash.command.till.pay, same trace: true
	// cash.command.till.pay: in POST /tills/{id}, same trace: true
	// POST /tills/{id}: the first, same trace: true
}

// A span of the program's own, which goes with what is appended in it.
func ExampleTracer_Start() {
	provider := sdk.NewTracerProvider()
	tracer := tracing.New(provider)
	work := func(ctx context.Context) {
		ctx, span := tracer.Start(ctx, "count the money")
		defer span.End()
		// Appends and commands with this context belong to the span.
		said := eventstore.Metadata(ctx)[eventstore.TraceParent]
		fmt.Println(len(said), said[36:52] == span.SpanContext().SpanID().String())
	}
	work(context.Background())
	// Output: 55 true
}
