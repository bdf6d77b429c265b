package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should never take long.
const patience = time.Minute

// A till is what the tests are about.
type tillEvent interface {
	eventstore.Typed
	isTillEvent()
}

type Paid struct{ Amount int }

func (Paid) EventType() string { return "till.paid" }
func (Paid) isTillEvent()      {}

var tillCodec = eventstore.JSON[tillEvent](Paid{})

type Till struct{ Total int }

func (t Till) Evolve(e tillEvent) Till {
	t.Total += e.(Paid).Amount
	return t
}

// Pay is refused for less than nothing.
type Pay struct{ Amount int }

func (Pay) RequestType() string { return "till.pay" }

var errNegative = errors.New("that is less than nothing")

func (p Pay) Decide(Till) ([]tillEvent, error) {
	if p.Amount < 0 {
		return nil, errNegative
	}
	return []tillEvent{Paid(p)}, nil
}

// decision is a command made of a function.
type decision func(Till) ([]tillEvent, error)

func (d decision) Decide(t Till) ([]tillEvent, error) { return d(t) }

// Probe is a query that answers as a test wants.
type Probe struct{}

func (Probe) RequestType() string { return "probe" }

// figures are all that a registry gathers, of histograms how much was observed.
func figures(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := strings.TrimPrefix(family.GetName(), "headwater_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetHistogram() != nil:
				all[name] = float64(m.GetHistogram().GetSampleCount())
				if sum := m.GetHistogram().GetSampleSum(); sum <= 0 || sum > patience.Seconds() {
					t.Errorf("%s took %v seconds", name, sum)
				}
			case m.GetCounter() != nil:
				all[name] = m.GetCounter().GetValue()
			default:
				all[name] = m.GetGauge().GetValue()
			}
		}
	}
	return all
}

// wantFigures checks all figures whose names begin so.
func wantFigures(t *testing.T, from prometheus.Gatherer, prefix string, want map[string]float64) {
	t.Helper()
	got := figures(t, from)
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, prefix) })
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if value, ok := want[name]; !ok || value != got[name] {
			t.Errorf("%s is %v, want %v (%v)", name, got[name], value, ok)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// becomes waits until a figure has a value.
func becomes(t *testing.T, from prometheus.Gatherer, name string, want float64) {
	t.Helper()
	eventually(t, func() error {
		if got := figures(t, from)[name]; got != want {
			return fmt.Errorf("%s is %v, not %v", name, got, want)
		}
		return nil
	})
}

// lint checks names, units and help as Prometheus wants them.
func lint(t *testing.T, from prometheus.Gatherer) {
	t.Helper()
	problems, err := testutil.GatherAndLint(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// eventually calls f until it returns nil, and fails after a while.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("gave up waiting: %v", err)
		}
	}
}

// A breakable is a server that comes back at the same address with the same data.
type breakable struct {
	dir, address string
	server       *embedded.Server
}

func newBreakable(t *testing.T) *breakable {
	t.Helper()
	b := &breakable{dir: t.TempDir(), address: "127.0.0.1:0"}
	b.start(t)
	b.address = strings.TrimPrefix(b.server.URL(), "nats://")
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *breakable) start(t *testing.T) {
	t.Helper()
	eventually(t, func() (err error) { // something else may have the port for a moment
		b.server, err = embedded.Start(t.Context(), b.dir, &embedded.Options{Relaxed: true, Listen: b.address})
		return err
	})
}

func (b *breakable) stop(t *testing.T) {
	t.Helper()
	if err := b.server.Close(); err != nil {
		t.Error(err)
	}
}

// start starts a service that ends with the test.
func start(t *testing.T, c service.Config, opts service.Options) *service.Service {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	s, err := service.Start(t.Context(), c, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// pay appends a payment, alone.
func pay(t *testing.T, log *eventstore.Store, till string, amount int) eventstore.Revision {
	t.Helper()
	event, err := tillCodec.Encode(Paid{amount})
	if err != nil {
		t.Fatal(err)
	}
	at, err := log.Append(t.Context(), eventstore.StreamID{Kind: "till", ID: till}, eventstore.Any, []eventstore.EventData{event}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
