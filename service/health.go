package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
)

// Health is whether a service is ready to work, and if not, why. As JSON it is what
// the endpoint /health/ready answers.
type Health struct {
	// Status is "ready", "not ready", "starting" or "shutting down".
	Status   string `json:"status"`
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Parts    []Part `json:"parts"`
}

// Part is how a part of a service is: the service itself, its connection, its log,
// and what runs in its background.
type Part struct {
	Part   string `json:"part"`
	Ready  bool   `json:"ready"`
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"` // why it is not ready
	Note   string `json:"note,omitempty"`   // what is odd though it is ready
	// Of a projection, unless it stands by:
	Lag    uint64  `json:"lag,omitempty"`    // commits that wait for it
	Behind float64 `json:"behind,omitempty"` // by how many seconds it is behind
	Parked int     `json:"parked,omitempty"` // streams that wait for somebody's help
}

func (p *Part) fail(err error) { p.Ready, p.Reason = false, err.Error() }

// phase is where a service is in its life.
type phase int

const (
	starting phase = iota
	serving
	shuttingDown
)

// askTime bounds one look at a service's health.
const askTime = 2 * time.Second

// Ready looks whether the service is ready: it runs and is not stopping, the server
// answers on its connection, the log answers, was not found damaged and does not end
// before a position that was seen, and all parts are ready. It takes two seconds at
// most, unless a [GoOptions.Ready] does not heed its context.
func (s *Service) Ready(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	h := Health{Status: "ready", Service: s.config.Service, Instance: s.config.Instance}
	s.mu.Lock()
	phase, nc, store, parts := s.phase, s.nc, s.store, s.running
	s.mu.Unlock()
	connection := s.lookConnection(ctx, nc)
	log, end := s.lookLog(ctx, store, connection)
	h.Parts = append(h.Parts, lookService(phase), connection, log)
	for _, p := range parts {
		h.Parts = append(h.Parts, p.look(ctx, end))
	}
	switch {
	case phase != serving:
		h.Status = h.Parts[0].State
	case !allReady(h.Parts):
		h.Status = "not ready"
	}
	return h
}

func allReady(parts []Part) bool {
	for _, p := range parts {
		if !p.Ready {
			return false
		}
	}
	return true
}

func lookService(now phase) Part {
	p := Part{Part: "service", Ready: true, State: "running"}
	switch now {
	case starting:
		p.State = "starting"
		p.fail(errors.New("it has not begun to run"))
	case shuttingDown:
		p.State = "shutting down"
		p.fail(errors.New("it is shutting down"))
	}
	return p
}

// lookConnection asks the server for a sign of life.
func (s *Service) lookConnection(ctx context.Context, nc *nats.Conn) Part {
	p := Part{Part: "connection", Ready: true, State: "connected"}
	why := s.conn.reason()
	switch {
	case nc == nil:
		p.State = "connecting"
		p.fail(because(errors.New("there is none yet"), why))
	case nc.IsClosed():
		p.State = "closed"
		p.fail(because(nats.ErrConnectionClosed, why))
	case !nc.IsConnected() && !nc.IsDraining():
		p.State = "disconnected"
		p.fail(because(errDisconnected, why))
	default:
		if err := nc.FlushWithContext(ctx); err != nil {
			p.fail(fmt.Errorf("the server does not answer: %w", err))
		}
	}
	return p
}

// lookLog asks for the log's end.
func (s *Service) lookLog(ctx context.Context, store *eventstore.Store, connection Part) (Part, head) {
	p := Part{Part: "log " + s.config.Log, Ready: true, State: "open"}
	switch {
	case store == nil:
		p.State = "not open"
		p.fail(errors.New("it is not open yet"))
		return p, head{}
	case !connection.Ready:
		p.State = "unknown"
		p.fail(errors.New("the connection is not ready"))
		return p, head{}
	}
	before, damage := s.known(0)
	end, err := store.Position(ctx)
	switch {
	case err != nil:
		p.State = "unknown"
		p.fail(err)
		return p, head{}
	case damage != nil:
		p.State = "damaged"
		p.fail(damage)
	case end < before:
		p.State = "damaged"
		p.fail(fmt.Errorf("it ends at position %d, and has ended at %d before", end, before))
	}
	s.known(end)
	return p, head{store.Identity(), end}
}

// known notes a position, and returns the highest so far and the first damage.
func (s *Service) known(position uint64) (highest uint64, damage error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, position)
	if s.damage != nil {
		damage = s.damage
	}
	return s.seen, damage
}

// live returns why the process is of no use any more, nil if it is: nothing but a
// connection that is closed for good, since nothing else gets better by a restart.
func (s *Service) live() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != shuttingDown && s.nc != nil && s.nc.IsClosed() {
		return nats.ErrConnectionClosed
	}
	return nil
}
