package service

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// HealthHandler answers GET /health/live with 200 while the process is of use, and GET
// /health/ready with 200 while it is ready, see [Service.Ready]; otherwise with 503.
// The body is JSON: a [Health], of which /health/live has the part "service" only. It
// may be asked by whoever can reach it: it shows names, positions and errors.
func (s *Service) HealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) {
		p := Part{Part: "service", Ready: true, State: "live"}
		status := "live"
		if err := s.live(); err != nil {
			status, p.State = "dead", "dead"
			p.fail(err)
		}
		writeHealth(w, p.Ready, Health{status, s.config.Service, s.config.Instance, []Part{p}})
	})
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, r *http.Request) {
		h := s.Ready(r.Context())
		writeHealth(w, h.Status == "ready", h)
	})
	return mux
}

// webHandler answers at the address of the health endpoints.
func (s *Service) webHandler() http.Handler {
	if s.opts.Metrics == nil {
		return s.HealthHandler()
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.HealthHandler())
	mux.Handle("GET /metrics", s.opts.Metrics)
	return mux
}

func writeHealth(w http.ResponseWriter, ok bool, h Health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")  // people read it, with curl
	enc.SetEscapeHTML(false) // and it is no HTML
	_ = enc.Encode(h)        // who asked has gone
}

// HealthAddress returns the host:port on which the health endpoints are served, ""
// if they are not.
func (s *Service) HealthAddress() string {
	if s.web == nil {
		return ""
	}
	return s.web.address
}

// healthServer serves the endpoints.
type healthServer struct {
	address string
	server  *http.Server
	served  chan error
}

func serveHealth(address string, h http.Handler) (*healthServer, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	w := &healthServer{
		address: l.Addr().String(),
		server:  &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute},
		served:  make(chan error, 1),
	}
	go func() { w.served <- w.server.Serve(l) }()
	return w, nil
}

// close breaks off answers in hand, which whoever asked takes as an answer too.
func (w *healthServer) close() error {
	if w == nil {
		return nil
	}
	err := w.server.Close()
	if served := <-w.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
