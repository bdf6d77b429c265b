package web

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

// Config is what a front is made of. Orders, Log and Conn are needed.
type Config struct {
	// Orders is the client of the service that has the orders.
	Orders *service.Client
	// Log is the log that the orders are in. It is only read.
	Log *eventstore.Store
	// Conn is a connection to the server that the log is on, for the live feed. The
	// log must be open with [eventstore.Options.Live].
	Conn *nats.Conn
	// Timeout is how long a request may take, the stream of events aside; default 15
	// seconds.
	Timeout time.Duration
	// Logger gets what an answer does not say. Default: none.
	Logger *slog.Logger
}

// Front is the HTTP handler. It may be used from several goroutines.
type Front struct {
	config    Config
	live      string // the log of the live feed
	mux       *http.ServeMux
	origin    *http.CrossOriginProtection
	heartbeat time.Duration // of streams of events
	behind    uint64        // positions that are read for who comes back

	mu      sync.Mutex
	feed    *feed // nil while nobody listens
	feeding sync.WaitGroup
	closed  chan struct{}
	catchUp chan struct{} // a place for each who reads what was missed
}

// New returns a front. Close it when its server stops.
func New(c Config) *Front {
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Front{
		config: c, live: c.Log.Name(), mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		heartbeat: 15 * time.Second, behind: 10_000, closed: make(chan struct{}), catchUp: make(chan struct{}, catchingUp),
	}
	f.mux.HandleFunc("GET /{$}", f.page)
	f.mux.HandleFunc("GET /events", f.events)
	f.handle("GET /orders", f.list)
	f.handle("POST /orders", f.place)
	f.handle("GET /orders/{id}", f.find)
	f.handle("POST /orders/{id}/cancel", f.cancel)
	f.handle("POST /orders/{id}/ship", f.ship)
	return f
}

// Server returns a server for a front, with limits on how long clients may take. Set
// its Addr, or serve a listener. Its Shutdown closes the front.
func Server(f *Front) *http.Server {
	s := &http.Server{
		Handler: f, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: f.config.Timeout + 15*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(f.config.Logger.Handler(), slog.LevelWarn),
	}
	s.RegisterOnShutdown(f.Close)
	return s
}

// Close ends the streams of events, which a server's Shutdown would wait for. Other
// requests are answered as before.
func (f *Front) Close() {
	f.mu.Lock()
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	if f.feed != nil {
		f.feed.stop()
	}
	f.mu.Unlock()
	f.feeding.Wait()
}

// handle has a route answered within the time of a request, and its error as a
// problem.
func (f *Front) handle(route string, answer func(http.ResponseWriter, *http.Request) error) {
	f.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), f.config.Timeout)
		defer cancel()
		if err := answer(w, r.WithContext(ctx)); err != nil {
			f.fail(w, r, err)
		}
	})
}

// ServeHTTP answers a request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if f.origin.Check(r) != nil {
		f.fail(w, r, newProblem("cross-origin", "a page of another site must not do this"))
		return
	}
	if _, pattern := f.mux.Handler(r); pattern != "" {
		f.mux.ServeHTTP(w, r)
		return
	}
	// The mux knows which it is, and says so in plain text.
	said := &deaf{header: w.Header()}
	f.mux.ServeHTTP(said, r)
	p := newProblem("not-found", "there is nothing at this address")
	if said.status == http.StatusMethodNotAllowed {
		p = newProblem("method-not-allowed", "this address is for "+w.Header().Get("Allow"))
	}
	f.fail(w, r, p)
}

// deaf takes the header and status of an answer, and not its body.
type deaf struct {
	header http.Header
	status int
}

func (d *deaf) Header() http.Header         { return d.header }
func (d *deaf) WriteHeader(status int)      { d.status = status }
func (d *deaf) Write(b []byte) (int, error) { return len(b), nil }

// secure sets what a browser should know of any answer.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
