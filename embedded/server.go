package embedded

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTimeout bounds the start when the context has no deadline. After an
// unclean stop the server reads the log again, at seconds per gigabyte.
const startTimeout = 5 * time.Minute

// Options are the optional settings of a server. The zero value is a durable
// server without a socket.
type Options struct {
	// Relaxed lets the server acknowledge messages before they are synced to
	// the disk. It syncs every two minutes. A power failure, or a crash of the
	// operating system, then loses messages that were acknowledged since the
	// last sync, and may lose a stream created shortly before as a whole, on
	// all nodes of a cluster alike if the power fails for all of them. A crash
	// of the process, kill -9 included, loses nothing.
	//
	// It makes writes several times faster. Use it for tests, and for logs
	// that can be made again from another source.
	Relaxed bool

	// Listen is the host:port on which the server accepts clients, such as
	// "127.0.0.1:4222". With port 0 the operating system chooses one, see
	// Server.URL; without a host it is every interface. There is no
	// authentication. Empty: no socket at all, connections come from Connect
	// only.
	Listen string

	// MaxStore is the number of bytes all streams together may have on the
	// disk. At the limit the server refuses writes with an error and works
	// again when started with a higher one, so it is best set somewhat below
	// what the disk has. Zero: no limit but the disk. (A NATS server's own
	// default is a share of the disk that is free when it starts; the same log
	// could then be writable today and not after a restart tomorrow.)
	MaxStore int64

	// Logger receives the server's log, and that of the recovery from a full
	// disk. Nil: it is discarded, but for what makes Start fail, which is in
	// the error in any case.
	Logger *slog.Logger
}

// Server is a running JetStream server. Its methods may be called from
// several goroutines at once.
type Server struct {
	dir   string
	url   string
	lock  io.Closer
	log   *logger
	srv   *server.Server
	conns conns

	stopRecovery context.CancelFunc // nil before there is any
	recovery     sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// Start starts a server that keeps its data in dir, which is created if it
// does not exist, and waits until it has recovered what is there. Nil options
// are the defaults.
//
// The context bounds that wait only; it may end once Start has returned. A
// recovery can take minutes after an unclean stop, and a context without a
// deadline is given five.
//
// The error is a *[LockedError] if another server has the folder, a
// *[DamagedError] if a stream in it cannot be recovered, and otherwise a
// *[StartError] with the cause. After an error nothing is left running and
// the folder is unlocked, with one exception: a recovery cannot be broken off,
// so when the context ends first, Start returns, and the folder stays locked
// until the recovery is over and the server is shut down.
func Start(ctx context.Context, dir string, opts *Options) (*Server, error) {
	return start(ctx, dir, opts, nil)
}

// Connect returns a new connection to the server that does not use the
// network, and that Close closes. Connections opened otherwise, to the URL,
// are their owner's to close.
//
// It returns [ErrClosed] after Close, or the error of nats.Connect. An option
// that says how the server is reached has no effect.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	return s.conns.connect(nats.DefaultURL, append(slices.Clone(opts), nats.InProcessServer(s.srv)))
}

// URL returns the URL by which clients on this machine reach the server, or
// "" if it does not listen.
func (s *Server) URL() string { return s.url }

// Dir returns the folder as it was given to Start.
func (s *Server) Dir() string { return s.dir }

// Close closes the connections made by Connect, stops the server, waits until
// it has stopped, and unlocks the folder. It does not wait for publishes
// under way: drain the connections first if they matter.
//
// Close may be called again, and by several goroutines: each call returns when
// the server is closed, with the same error, which is that of unlocking the
// folder or nil.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.conns.close()
		if s.stopRecovery != nil {
			s.stopRecovery()
			s.recovery.Wait()
		}
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.closeErr = s.lock.Close()
	})
	return s.closeErr
}

// start is Start for a single server, or for a member of a cluster.
func start(ctx context.Context, dir string, opts *Options, m *member) (*Server, error) {
	if opts == nil {
		opts = new(Options)
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	s, err := prepare(ctx, dir, opts, m)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, m == nil); err != nil {
		return nil, err
	}
	s.url = clientURL(s.srv.Addr())
	return s, nil
}

func withStartTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startTimeout)
}

// prepare takes the lock and makes the server. It leaves nothing behind when
// it fails, except the folder and the lock file in it.
func prepare(ctx context.Context, dir string, opts *Options, m *member) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, &StartError{Dir: dir, Err: err}
	}
	so, err := serverOptions(dir, opts, m)
	if err != nil {
		return nil, &StartError{Dir: dir, Err: err}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, &StartError{Dir: dir, Err: err}
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, startError(dir, err)
	}
	srv, err := server.NewServer(so)
	if err != nil {
		_ = lock.Close()
		return nil, &StartError{Dir: dir, Err: err}
	}
	s := &Server{dir: dir, lock: lock, srv: srv, log: newLogger(opts.Logger)}
	srv.SetLoggerV2(s.log, s.log.out.Enabled(ctx, slog.LevelDebug), false, false)
	return s, nil
}

// clientURL is the URL of a listening address, "" for none. An address that
// means every interface is no destination, so loopback stands in for it.
func clientURL(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	if tcp.IP.IsUnspecified() {
		return "nats://" + loopback(tcp.Port)
	}
	return "nats://" + tcp.String()
}
