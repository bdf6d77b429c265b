package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// noLimit stands for "no limit but the disk" and leaves room for the
	// server to add to it.
	noLimit = 1 << 60

	// maxMemory is explicit because the default is a share of the machine's
	// memory. Logs are kept in files; this is for what clients do besides.
	maxMemory = 256 << 20

	// readyPoll is how often a condition of the server is looked at that it
	// has no event for.
	readyPoll = 5 * time.Millisecond
)

// serverOptions translates the options. A new value each time: a server keeps
// and changes the one it was given.
func serverOptions(dir string, opts *Options, m *member) (*server.Options, error) {
	so := &server.Options{
		ServerName:             "headwater",
		DontListen:             opts.Listen == "",
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             !opts.Relaxed,
		JetStreamMaxMemory:     maxMemory,
		JetStreamMaxStore:      opts.MaxStore,
		DisableJetStreamBanner: true,
		NoSigs:                 true,
	}
	switch {
	case opts.MaxStore < 0:
		return nil, fmt.Errorf("Options.MaxStore is negative: %d", opts.MaxStore)
	case opts.MaxStore == 0:
		so.JetStreamMaxStore = noLimit
	}
	if m != nil {
		m.apply(so)
		return so, nil
	}
	if opts.Listen == "" {
		return so, nil
	}
	host, port, err := splitListen(opts.Listen)
	if err != nil {
		return nil, err
	}
	so.Host, so.Port = host, port
	return so, nil
}

// splitListen parses Options.Listen into what the server wants, whose word for
// a port of the kernel's choice is not 0.
func splitListen(listen string) (string, int, error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("Options.Listen %q is not host:port: %w", listen, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("Options.Listen %q: the port must be a number from 0 to 65535", listen)
	}
	if port == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(port), nil
}

// run starts the prepared server and waits until it is ready. When it fails it
// closes the server. A server that is alone looks after its streams: they are
// nowhere else.
func (s *Server) run(ctx context.Context, alone bool) error {
	kept := false
	if alone {
		err := s.keep()
		if err != nil && noSpace(err.Error()) {
			_ = s.Close()
			return &StartError{Dir: s.dir, Err: err}
		}
		kept = err == nil // or the file system has no hard links
	}
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		s.srv.Start() // returns after the recovery, or having called Fatalf
	}()
	select {
	case <-returned:
	case <-ctx.Done():
		// Shutting down in the middle of a recovery pulls the store from under
		// it, and the lock must outlast both.
		go func() {
			<-returned
			if alone {
				_ = s.putBack(false) // the next start does it otherwise
			}
			_ = s.Close()
		}()
		return &StartError{Dir: s.dir, Err: fmt.Errorf("recovery has not finished: %w", ctx.Err())}
	}
	err := s.waitReady(ctx)
	warnings := s.log.started()
	if alone {
		err = cmp.Or(err, s.putBack(false))
	}
	if err == nil && alone {
		err = s.checkStreams(ctx, warnings)
	}
	if err != nil {
		_ = s.Close()
		return startError(s.dir, err)
	}
	if kept {
		s.startRecovery()
	}
	return nil
}

// waitReady waits for the listeners. Start has opened that for clients; the
// one for routes is opened in the background.
func (s *Server) waitReady(ctx context.Context) error {
	return poll(ctx, func() (bool, error) {
		if err := s.log.failure(); err != nil {
			return false, err
		}
		return s.srv.ReadyForConnections(time.Millisecond), nil
	})
}

// checkStreams returns a DamagedError if streams on the disk are not in the
// server, which skips what it cannot recover with a warning.
func (s *Server) checkStreams(ctx context.Context, warnings []string) error {
	var lost []string
	err := poll(ctx, func() (ok bool, err error) {
		lost, ok = s.lostStreams()
		return ok, nil
	})
	if err != nil || len(lost) == 0 {
		return err
	}
	return &DamagedError{Dir: s.dir, Streams: lost, Warnings: warnings}
}

// lostStreams returns the names of streams that have messages on the disk and
// are not in the server; not ok if the server was too busy to look.
func (s *Server) lostStreams() (lost []string, ok bool) {
	for _, e := range s.srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		switch {
		case e.Type == server.HealthzErrorConn:
			return nil, false
		case e.Type == server.HealthzErrorStream && s.holdsMessages(e.Account, e.Stream):
			lost = append(lost, e.Stream)
		}
	}
	slices.Sort(lost)
	return lost, true
}

// holdsMessages reports whether there is anything to lose in a stream's
// folder. A crash while a stream is created or deleted leaves one that is
// unfinished or, if its name begins with a dot, about to be removed.
func (s *Server) holdsMessages(account, stream string) bool {
	if strings.HasPrefix(stream, ".") {
		return false
	}
	files, err := os.ReadDir(filepath.Join(s.srv.StoreDir(), account, "streams", stream, "msgs"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // unreadable is not empty
	}
	return slices.ContainsFunc(files, func(f os.DirEntry) bool {
		info, err := f.Info()
		return filepath.Ext(f.Name()) == ".blk" && (err != nil || info.Size() > 0)
	})
}

// poll calls done until it returns true or an error, or the context ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startError makes err one of the three types that Start returns.
func startError(dir string, err error) error {
	if errors.As(err, new(*LockedError)) || errors.As(err, new(*DamagedError)) {
		return err
	}
	return &StartError{Dir: dir, Err: err}
}
