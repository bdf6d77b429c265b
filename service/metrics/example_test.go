package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A service whose figures are served beside its health.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "cash")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry)
	if err != nil {
		log.Fatal(err)
	}
	svc, err := service.Start(ctx, service.Config{Service: "cash", DataDir: dir, HealthAddress: "127.0.0.1:0"}, &service.Options{
		Logger:       slog.New(slog.DiscardHandler),
		OnConnection: m.Connection,
		Log:          &eventstore.Options{OnAppend: m.Append},
		Metrics:      promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Stop(ctx)
	tills := aggregate.NewRepository[Till](svc.Log(), "till", tillCodec, nil)
	m.Repository("till", tills.Stats)
	responder, err := service.Respond(ctx, svc.Conn(), "cash", []service.Endpoint{
		service.Handle[Pay](tills, nil),
	}, &service.RespondOptions{OnAnswer: m.Answer})
	if err != nil {
		log.Fatal(err)
	}
	svc.OnStop(responder.Stop)

	cash, err := service.NewClient(svc.Conn(), "cash", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, amount := range []int{5, 7, -1} {
		if _, err := cash.Execute(ctx, "front", Pay{amount}, nil); err != nil {
			fmt.Println(err)
		}
	}

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + svc.HealthAddress() + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "headwater_connection_up") || strings.HasPrefix(line, "headwater_aggregate") || strings.Contains(line, "_count{") {
			fmt.Print(line)
		}
	}
	// Output:
	// cash.command.till.pay: till/front rejected at version 2: that is less than nothing
	// headwater_aggregate_conflicts_total{kind="till"} 0
	// headwater_aggregate_loads_total{kind="till",source="cache"} 2
	// headwater_aggregate_loads_total{kind="till",source="log"} 1
	// headwater_aggregate_loads_total{kind="till",source="snapshot"} 0
	// headwater_append_duration_seconds_count{kind="till",outcome="stored"} 2
	// headwater_connection_up 1
	// headwater_request_duration_seconds_count{endpoint="cash.command.till.pay",outcome="ok"} 2
	// headwater_request_duration_seconds_count{endpoint="cash.command.till.pay",outcome="rejected"} 1
}
