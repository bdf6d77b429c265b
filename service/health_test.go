package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// incomes is a projection of what all tills got.
type incomes struct {
	*projection.Projection[*int]
	model *projection.Memory[int]

	mu   sync.Mutex
	hold chan struct{} // handlers wait for it
	fail error
}

var errPoison = errors.New("no such coin")

func newIncome(t *testing.T, svc *service.Service, opts *projection.Options) *incomes {
	t.Helper()
	if opts == nil {
		opts = &projection.Options{}
	}
	opts.Attempts = 1
	i := &incomes{model: projection.NewMemory[int](nil, nil)}
	p, err := projection.New("income", svc.Log(), i.model, projection.From("till", tillCodec,
		projection.On(func(ctx context.Context, sum *int, e Paid, _ projection.Event) error {
			i.mu.Lock()
			hold, fail := i.hold, i.fail
			i.mu.Unlock()
			if hold != nil {
				select {
				case <-hold:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			*sum += e.Amount
			return fail
		}),
	), opts)
	if err != nil {
		t.Fatal(err)
	}
	i.Projection = p
	return i
}

func (i *incomes) set(hold chan struct{}, fail error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hold, i.fail = hold, fail
}

// sum returns what the read model has.
func (i *incomes) sum() (sum int) {
	// Before its first run it has nothing.
	_ = i.model.View(context.Background(), "income", func(n *int) error { sum = *n; return nil })
	return sum
}

func (i *incomes) await(t *testing.T, want int) {
	t.Helper()
	eventually(t, func() error {
		if got := i.sum(); got != want {
			return fmt.Errorf("the income is %d, not %d", got, want)
		}
		return nil
	})
}

// get asks for the health as a supervisor does.
func get(t *testing.T, address, path string) (code int, h service.Health) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &h); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v", resp.Header)
	}
	return resp.StatusCode, h
}

// becomes waits until the service says this of itself and of a part.
func becomes(t *testing.T, address string, want int, status, part, state, reason string) {
	t.Helper()
	eventually(t, func() error {
		code, h := get(t, address, "/health/ready")
		if code == want && h.Status == status {
			for _, p := range h.Parts {
				if p.Part == part && p.State == state && strings.Contains(p.Reason, reason) && p.Ready == (reason == "") {
					return nil
				}
			}
		}
		return fmt.Errorf("want %d, %s, %s %q %q; got %d %+v", want, status, part, state, reason, code, h)
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	b := newBreakable(t)
	b.stop(t)
	const ok, not = http.StatusOK, http.StatusServiceUnavailable

	// Starting: there is no server.
	w := newWatcher()
	opts := w.options()
	c := service.Config{Servers: []string{b.address}, Service: "orders", Instance: "o1", Log: "shop", HealthAddress: freeAddress(t)}
	started := make(chan *service.Service, 1)
	go func() {
		svc, err := service.Start(t.Context(), c, opts)
		if err != nil {
			t.Error(err)
		}
		started <- svc
	}()
	w.await(t, service.Disconnected)
	becomes(t, c.HealthAddress, not, "starting", "service", "starting", "not begun")
	becomes(t, c.HealthAddress, not, "starting", "connection", "connecting", "refused")
	becomes(t, c.HealthAddress, not, "starting", "log shop", "not open", "not open yet")
	if code, h := get(t, c.HealthAddress, "/health/live"); code != ok || h.Status != "live" {
		t.Errorf("got %d %+v", code, h)
	}

	// Starting: the program adds its parts.
	b.start(t)
	svc := <-started
	if svc == nil {
		t.FailNow()
	}
	if svc.HealthAddress() != c.HealthAddress {
		t.Errorf("it is at %s", svc.HealthAddress())
	}
	income := newIncome(t, svc, nil)
	svc.Project(income, nil)
	becomes(t, c.HealthAddress, not, "starting", "connection", "connected", "")
	becomes(t, c.HealthAddress, not, "starting", "log shop", "open", "")

	// Ready.
	held := make(chan struct{})
	svc.OnStop(func(context.Context) error { <-held; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- svc.Run(ctx) }()
	becomes(t, c.HealthAddress, ok, "ready", "projection income", "live", "")
	becomes(t, c.HealthAddress, ok, "ready", "service", "running", "")

	// Disconnected.
	b.stop(t)
	becomes(t, c.HealthAddress, not, "not ready", "connection", "disconnected", "refused")
	becomes(t, c.HealthAddress, not, "not ready", "log shop", "unknown", "connection")
	b.start(t)
	becomes(t, c.HealthAddress, ok, "ready", "connection", "connected", "")

	// A projection stopped.
	income.set(nil, errPoison)
	pay(t, svc.Log(), "front", 1)
	becomes(t, c.HealthAddress, not, "not ready", "projection income", "stopped", errPoison.Error())
	if code, h := get(t, c.HealthAddress, "/health/live"); code != ok {
		t.Errorf("a restart would be of no use: %d %+v", code, h)
	}

	// Shutting down.
	cancel()
	becomes(t, c.HealthAddress, not, "shutting down", "service", "shutting down", "shutting down")
	if code, _ := get(t, c.HealthAddress, "/health/live"); code != ok {
		t.Errorf("not live while it shuts down: %d", code)
	}
	close(held)
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + c.HealthAddress + "/health/live"); err == nil {
		t.Error("the endpoints are still served")
	}
}

// freeAddress returns an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	b := newBreakable(t)
	b.stop(t)
	return b.address
}

// A handler by itself, without an address.
func TestHealthHandler(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	if svc.HealthAddress() != "" {
		t.Errorf("it is at %q", svc.HealthAddress())
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/health/live", 200}, {"HEAD", "/health/live", 200}, {"GET", "/health/ready", 503},
		{"POST", "/health/live", 405}, {"GET", "/", 404},
	} {
		if got := ask(t, svc, c.method, c.path); got != c.want {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, got, c.want)
		}
	}
	svc.Conn().Close() // for good
	if got := ask(t, svc, "GET", "/health/live"); got != 503 {
		t.Errorf("it is live without a connection: %d", got)
	}
}

func ask(t *testing.T, svc *service.Service, method, path string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := recorder{header: http.Header{}, code: http.StatusOK}
	svc.HealthHandler().ServeHTTP(&w, r)
	return w.code
}

type recorder struct {
	header http.Header
	code   int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(code int)        { r.code = code }

// part returns what the service says of a part.
func partOf(t *testing.T, svc *service.Service, name string) service.Part {
	t.Helper()
	for _, p := range svc.Ready(t.Context()).Parts {
		if p.Part == name {
			return p
		}
	}
	t.Fatalf("there is no part %q", name)
	return service.Part{}
}

func awaitPart(t *testing.T, svc *service.Service, name string, ready bool, text string) {
	t.Helper()
	eventually(t, func() error {
		if p := partOf(t, svc, name); p.Ready != ready || !strings.Contains(p.State+p.Reason+p.Note, text) {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
}

// A projection that is too far behind is not ready.
func TestProjectionBehind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bounds *service.ProjectOptions
		reason string
	}{
		"in commits": {&service.ProjectOptions{MaxLag: 2}, "wait for it"},
		"in time":    {&service.ProjectOptions{MaxBehind: time.Millisecond}, "behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
			income := newIncome(t, svc, nil)
			hold := make(chan struct{})
			income.set(hold, nil)
			svc.Project(income, c.bounds)
			for range 4 {
				pay(t, svc.Log(), "front", 1)
			}
			awaitPart(t, svc, "projection income", false, c.reason)
			close(hold)
			awaitPart(t, svc, "projection income", true, "live")
		})
	}
}

// Commits that a projection has no handlers for do not keep it behind.
func TestProjectionPassesOthers(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	svc.Project(newIncome(t, svc, nil), &service.ProjectOptions{MaxLag: 1, MaxBehind: time.Second})
	awaitPart(t, svc, "projection income", true, "live")
	for range 4 {
		_, err := svc.Log().Append(t.Context(), eventstore.StreamID{Kind: "door", ID: "front"}, eventstore.Any,
			[]eventstore.EventData{{Type: "door.opened"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		if p := partOf(t, svc, "projection income"); p.Lag > 0 || !p.Ready {
			return fmt.Errorf("got %+v", p)
		}
		return nil
	})
}

// A part of the program's own.
func TestGo(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	broken := errors.New("broken")
	var mu sync.Mutex
	var sick error
	svc.Go("patient", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}, &service.GoOptions{Ready: func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		return sick
	}})
	svc.Go("brittle", func(context.Context) error { return broken }, nil)
	svc.Go("short", func(context.Context) error { return nil }, nil)
	awaitPart(t, svc, "background patient", true, "running")
	awaitPart(t, svc, "background brittle", false, "broken")
	awaitPart(t, svc, "background short", true, "done")
	mu.Lock()
	sick = broken
	mu.Unlock()
	awaitPart(t, svc, "background patient", false, "broken")
}

// A log that was found damaged is not ready to be used.
func TestDamageShows(t *testing.T) {
	t.Parallel()
	told := 0
	opts := on(newHouse(t))
	opts.Log = &eventstore.Options{OnDamage: func(*eventstore.CorruptionError) { told++ }}
	svc := startService(t, service.Config{Log: "test"}, opts)
	awaitPart(t, svc, "log test", true, "open")
	service.Damage(svc, &eventstore.CorruptionError{Log: "test", Position: 7, Reason: "lost"})
	awaitPart(t, svc, "log test", false, "position 7")
	if told != 1 {
		t.Errorf("the program was told %d times", told)
	}
}

// A log whose end went back lost something.
func TestLogWentBack(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	service.Seen(svc, 7)
	awaitPart(t, svc, "log test", false, "ended at 7 before")
}

// A standing is a projection of which somebody else says how it is.
type standing struct {
	store *eventstore.Store

	mu     sync.Mutex
	status projection.Status
}

func (s *standing) Name() string                  { return "income" }
func (s *standing) Store() *eventstore.Store      { return s.store }
func (s *standing) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (s *standing) Status() projection.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *standing) is(status projection.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// A projection that stands by is not behind, however far the log goes on; when it
// takes over it is not yet late.
func TestProjectionStandsBy(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Log: "test"}, on(newHouse(t)))
	s := &standing{store: svc.Log()}
	s.is(projection.Status{State: projection.Standby, Err: errPoison})
	const bound = 100 * time.Millisecond
	svc.Project(s, &service.ProjectOptions{MaxLag: 1, MaxBehind: bound})
	for range 3 {
		pay(t, svc.Log(), "front", 1)
	}
	want := service.Part{Part: "projection income", Ready: true, State: "standby", Note: errPoison.Error()}
	for began := time.Now(); time.Since(began) < 2*bound; {
		if got := partOf(t, svc, "projection income"); got != want {
			t.Fatalf("got %+v", got)
		}
	}
	s.is(projection.Status{State: projection.CatchingUp, Position: 0, Head: 1})
	if got := partOf(t, svc, "projection income"); !strings.Contains(got.Reason, "3 commits wait") || got.Lag != 3 || got.Behind >= bound.Seconds() {
		t.Errorf("got %+v", got)
	}
	s.is(projection.Status{State: projection.Live, Position: 3, Head: 3})
	if got := partOf(t, svc, "projection income"); !got.Ready || got.Behind != 0 {
		t.Errorf("got %+v", got)
	}
}
