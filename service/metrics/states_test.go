package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/service/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// curl asks over HTTP, on a connection of its own.
func curl(method, url string) (code int, body string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// says waits until the health endpoint answers so, and the metrics have these lines.
func says(t *testing.T, address string, code int, status string, lines ...string) {
	t.Helper()
	eventually(t, func() error {
		got, body, err := curl("GET", "http://"+address+"/health/ready")
		if err != nil {
			return err
		}
		if got != code || !strings.Contains(body, `"status": "`+status+`"`) {
			return fmt.Errorf("want %d %s, got %d %s", code, status, got, body)
		}
		got, body, err = curl("GET", "http://"+address+"/metrics")
		if err != nil || got != http.StatusOK {
			return fmt.Errorf("metrics: %d %w", got, err)
		}
		all := strings.Split(body, "\n")
		for _, line := range lines {
			if !slices.Contains(all, "headwater_"+line) {
				return fmt.Errorf("%s: the metrics have no %s:\n%s", status, line, body)
			}
		}
		return nil
	})
}

// In each state of a service both say what is, to whoever asks over HTTP.
func TestStates(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	b.stop(t)
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{}, 100)
	opts := &service.Options{
		Logger: slog.New(slog.DiscardHandler), Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Log: &eventstore.Options{OnAppend: m.Append},
		OnConnection: func(s service.ConnStatus) {
			m.Connection(s)
			waits <- struct{}{}
		},
	}
	c := service.Config{Servers: []string{b.address}, Service: "cash", HealthAddress: freeAddress(t)}
	started := make(chan *service.Service, 1)
	go func() {
		svc, err := service.Start(t.Context(), c, opts)
		if err != nil {
			t.Error(err)
		}
		started <- svc
	}()
	const not, ok = http.StatusServiceUnavailable, http.StatusOK
	<-waits

	// Starting: there is no server, and then the program has not begun to run.
	says(t, c.HealthAddress, not, "starting", "connection_up 0", "connection_losses_total 0")
	b.start(t)
	svc := <-started
	if svc == nil {
		t.FailNow()
	}
	var poison atomic.Bool
	income, err := projection.New("income", svc.Log(), projection.NewMemory[int](nil, nil), projection.From("till", tillCodec,
		projection.On(func(context.Context, *int, Paid, projection.Event) error {
			if poison.Load() {
				return errPoison
			}
			return nil
		})), &projection.Options{Attempts: 1, Hooks: m.Hooks()})
	if err != nil {
		t.Fatal(err)
	}
	m.Projection(income)
	says(t, c.HealthAddress, not, "starting", "connection_up 1", `projection_state{projection="income",state="stopped"} 1`)
	svc.Project(income, nil)

	// Ready.
	held := make(chan struct{})
	svc.OnStop(func(context.Context) error { <-held; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- svc.Run(ctx) }()
	pay(t, svc.Log(), "front", 1)
	says(t, c.HealthAddress, ok, "ready", "connection_up 1", "connection_losses_total 0",
		`append_duration_seconds_count{kind="till",outcome="stored"} 1`, `append_events_total{kind="till"} 1`,
		`projection_state{projection="income",state="live"} 1`, `projection_lag_commits{projection="income"} 0`,
		`projection_events_total{projection="income"} 1`)

	// Disconnected: the metrics are what is known.
	b.stop(t)
	says(t, c.HealthAddress, not, "not ready", "connection_up 0", "connection_losses_total 1", "connection_reconnects_total 0",
		`projection_position{projection="income"} 1`)
	b.start(t)
	says(t, c.HealthAddress, ok, "ready", "connection_up 1", "connection_losses_total 1", "connection_reconnects_total 1",
		`projection_state{projection="income",state="live"} 1`, `projection_starts_total{projection="income"} 1`)

	// The projection stopped, and the log goes on.
	poison.Store(true)
	pay(t, svc.Log(), "front", 1)
	says(t, c.HealthAddress, not, "not ready", `projection_state{projection="income",state="stopped"} 1`,
		`projection_state{projection="income",state="live"} 0`, `projection_stops_total{cause="failed",projection="income"} 1`,
		`projection_failures_total{projection="income",where="handler"} 1`)
	pay(t, svc.Log(), "front", 1)
	says(t, c.HealthAddress, not, "not ready", `projection_lag_commits{projection="income"} 2`, "connection_up 1")

	// Shutting down.
	cancel()
	says(t, c.HealthAddress, not, "shutting down", "connection_up 1", `projection_lag_commits{projection="income"} 2`)
	if code, body, err := curl("GET", "http://"+c.HealthAddress+"/health/live"); err != nil || code != ok {
		t.Errorf("not live while it shuts down: %d %s %v", code, body, err)
	}
	close(held)
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, _, err := curl("GET", "http://"+c.HealthAddress+"/metrics"); err == nil {
		t.Error("the metrics are still served")
	}
	wantFigures(t, registry, "connection_up", map[string]float64{"connection_up{}": 0})
}

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	b := newBreakable(t)
	b.stop(t)
	return b.address
}

// Beside the health endpoints there is what the options say, and nothing else.
func TestServed(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures") })
	for name, row := range map[string]struct {
		metrics http.Handler
		code    int
	}{"with": {served, 200}, "without": {nil, 404}} {
		svc := start(t, service.Config{Servers: []string{b.address}, HealthAddress: "127.0.0.1:0", Instance: name}, service.Options{Metrics: row.metrics})
		for _, ask := range []struct {
			method, path string
			want         int
		}{
			{"GET", "/metrics", row.code}, {"HEAD", "/metrics", row.code}, {"POST", "/metrics", 404}, {"GET", "/metrics/x", 404},
			{"GET", "/health/live", 200}, {"GET", "/health/ready", 503}, {"POST", "/health/live", 405}, {"GET", "/", 404},
		} {
			code, body, err := curl(ask.method, "http://"+svc.HealthAddress()+ask.path)
			if err != nil || code != ask.want || ask.method == "GET" && ask.path == "/metrics" && (body == "figures") != (code == 200) {
				t.Errorf("%s: %s %s: got %d %q %v, want %d", name, ask.method, ask.path, code, body, err, ask.want)
			}
		}
	}
}

// Two services in a process are told apart by labels of the program's.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	var twice prometheus.AlreadyRegisteredError
	if _, err := metrics.New(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.New(registry); !errors.As(err, &twice) {
		t.Errorf("twice on one registry: %v", err)
	}
	if _, err := metrics.New(nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("on no registry: %v", err)
	}
	registry = prometheus.NewRegistry()
	for i, name := range []string{"cash", "bank"} {
		m, err := metrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"service": name}, registry))
		if err != nil {
			t.Fatal(err)
		}
		for range i + 1 {
			m.Connection(service.ConnStatus{State: service.Connected})
			m.Connection(service.ConnStatus{State: service.Disconnected})
		}
	}
	wantFigures(t, registry, "connection_losses", map[string]float64{
		"connection_losses_total{service=cash}": 1, "connection_losses_total{service=bank}": 2,
	})
	lint(t, registry)
}

// standing is a projection that stands by.
type standing struct{ store *eventstore.Store }

func (s standing) Name() string                  { return "income" }
func (s standing) Store() *eventstore.Store      { return s.store }
func (s standing) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (s standing) Status() projection.Status {
	return projection.Status{Projection: "income", State: projection.Standby, Head: 7}
}

// A projection that stands by is not behind: it has no figures that would say so.
func TestStandby(t *testing.T) {
	t.Parallel()
	svc := start(t, service.Config{Servers: []string{newBreakable(t).address}}, service.Options{})
	pay(t, svc.Log(), "front", 1)
	m, registry := newMetrics(t)
	m.Projection(standing{svc.Log()})
	wantFigures(t, registry, "projection_", map[string]float64{
		"projection_state{projection=income,state=standby}": 1, "projection_state{projection=income,state=stopped}": 0,
		"projection_state{projection=income,state=live}": 0, "projection_state{projection=income,state=catching up}": 0,
	})
	lint(t, registry)
}
