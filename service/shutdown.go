package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// OnStop has a function called when the service begins to stop, before its parts are
// told to: it stops taking work, and returns when that in hand is done. All such
// functions are called at the same time. [Responder.Stop] is one, and Shutdown of an
// http.Server.
func (s *Service) OnStop(stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, stop)
}

// OnClose has a function called when the parts have ended, while there still is a
// connection: to flush snapshots and to close files, for example. Such functions are
// called one after the other, the last one first.
func (s *Service) OnClose(close func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closes = append(s.closes, close)
}

// Run says that the service has begun its work, and waits for SIGTERM, for SIGINT, for
// the end of the context, or for [Service.Stop]. Then it stops the service and returns
// the error of Stop. While it stops, signals do what they do without Run: the next
// one ends the process at once.
func (s *Service) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	s.enter(serving)
	s.log.Info("running")
	select {
	case got := <-signals:
		s.log.Info("got a signal", "signal", got.String())
	case <-ctx.Done():
	case <-s.begun:
	}
	signal.Stop(signals)
	return s.Stop(context.WithoutCancel(ctx))
}

// enter notes where the service is in its life, in which it never goes back.
func (s *Service) enter(next phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = max(s.phase, next)
}

// Stop stops the service: it is not ready any more; the functions of [Service.OnStop]
// are called; the parts end; those of [Service.OnClose] are called; the connection is
// drained and closed; the embedded server stops, and then the health endpoints.
//
// It takes [Config.ShutdownTimeout] at most, or until the context ends. The first
// three steps have half of what is left each, so that one that hangs does not take it
// all. Everything is closed in the end all the same, and the error tells what did not
// end in time, or failed; what did not end may still be running then. Called again, it
// waits for the end and returns the same error.
func (s *Service) Stop(ctx context.Context) error {
	s.stopping.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, s.config.ShutdownTimeout)
		defer cancel()
		s.enter(shuttingDown)
		close(s.begun)
		began := time.Now()
		s.log.Info("shutting down")
		s.stopErr = s.stop(ctx)
		if s.stopErr != nil {
			s.log.Error("shut down", "took", time.Since(began), "error", s.stopErr)
			return
		}
		s.log.Info("shut down", "took", time.Since(began))
	})
	return s.stopErr
}

func (s *Service) stop(ctx context.Context) error {
	var errs []error
	for _, step := range []func(context.Context) error{s.stopWork, s.stopParts, s.closeAll} {
		half, cancel := halfOf(ctx)
		errs = append(errs, step(half))
		cancel()
	}
	errs = append(errs, s.drain(ctx), s.within(ctx, "what is left", func(context.Context) error { return s.free() }))
	return errors.Join(errs...)
}

// halfOf returns a context that ends in half the time.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// stopWork calls the functions of OnStop.
func (s *Service) stopWork(ctx context.Context) error {
	s.mu.Lock()
	stops := slices.Clone(s.stops)
	s.mu.Unlock()
	errs := make([]error, len(stops))
	var all sync.WaitGroup
	for i, stop := range stops {
		all.Go(func() { errs[i] = s.within(ctx, "work", stop) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// stopParts tells the parts to end.
func (s *Service) stopParts(ctx context.Context) error {
	s.mu.Lock()
	s.cancel()
	parts := slices.Clone(s.running)
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.parts.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	s.mu.Lock()
	errs := slices.Clone(s.partErrs)
	s.mu.Unlock()
	for _, p := range parts {
		if running, _ := p.state(); running {
			errs = append(errs, fmt.Errorf("%s %s: %w", p.what, p.name, errTooSlow))
		}
	}
	return errors.Join(errs...)
}

// closeAll calls the functions of OnClose.
func (s *Service) closeAll(ctx context.Context) error {
	s.mu.Lock()
	closes := slices.Clone(s.closes)
	s.mu.Unlock()
	var errs []error
	for _, close := range slices.Backward(closes) {
		errs = append(errs, s.within(ctx, "closing", close))
	}
	return errors.Join(errs...)
}

var errTooSlow = fmt.Errorf("did not end in time: %w", context.DeadlineExceeded)

// within calls f and waits until it returns, or for the end of the context.
func (s *Service) within(ctx context.Context, what string, f func(context.Context) error) error {
	returned := make(chan error, 1)
	go func() { returned <- f(ctx) }()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-returned: // just now
		return err
	default:
		return fmt.Errorf("%s: %w", what, errTooSlow)
	}
}

// drain lets the connection deliver what it has, and closes it. One that is lost just
// now has nothing to deliver that anybody waits for.
func (s *Service) drain(ctx context.Context) error {
	err := s.nc.Drain()
	if err != nil {
		s.nc.Close()
	}
	select {
	case <-s.conn.closed:
	case <-ctx.Done():
		s.nc.Close()
		return fmt.Errorf("drain the connection: %w", errTooSlow)
	}
	if isAny(err, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting) {
		return nil
	}
	return err
}
