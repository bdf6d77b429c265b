package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/internal/lock"
	"github.com/nats-io/nats.go"
)

// Options are what a service may be started with. The zero value of each field is its
// default.
type Options struct {
	// Logger gets what happens, with the names of service and instance. Default:
	// [slog.Default].
	Logger *slog.Logger
	// OnConnection is told what happens to the connection, for example to count it.
	// It should return soon: while it runs nothing else is told. What fails again for
	// the same reason is not told again. Default: nobody.
	OnConnection func(ConnStatus)
	// Metrics answers GET /metrics at the address of the health endpoints, see package
	// service/metrics for one. Like them it is there from the beginning to the end.
	// Default: nothing does.
	Metrics http.Handler
	// Log has settings of the log that the configuration has not. OnDamage is called,
	// and the service is not ready any more.
	Log *eventstore.Options
	// Embedded has settings of the embedded server. Default: those of package
	// embedded, and the service's logger gets its warnings.
	Embedded *embedded.Options
	// Connect connects to what the program runs already, with the method of that name
	// of an embedded server that several services in one process share. It must use
	// the options it is given. The caller closes what it connects to, after the
	// services. The configuration names no servers then.
	Connect func(...nats.Option) (*nats.Conn, error)
	// NATS are more options of the connection. They come after those of the
	// configuration and before the handlers that the service sets.
	NATS []nats.Option
}

// Service is a process with a connection and a log, the parts that run in its
// background, what is known of its health, and an order in which all of it stops. Its
// methods may be called from several goroutines.
type Service struct {
	config Config
	opts   Options
	log    *slog.Logger
	conn   *connection
	alone  bool // it has a server of its own
	server *embedded.Server
	mark   io.Closer // lock of the high-water mark
	nc     *nats.Conn
	store  *eventstore.Store
	web    *healthServer // nil: there is none

	background context.Context // of the parts
	cancel     context.CancelFunc
	parts      sync.WaitGroup

	mu       sync.Mutex
	phase    phase
	running  []*part
	partErrs []error // of parts that were told to end
	stops    []func(context.Context) error
	closes   []func(context.Context) error
	damage   *eventstore.CorruptionError // the first that was found
	seen     uint64                      // the log's highest position so far

	stopping sync.Once
	begun    chan struct{} // closed when it begins to stop
	stopErr  error
}

// Start connects to the servers of the configuration, or starts the embedded one, and
// opens the log, which is created where there is none. Nil options are the defaults.
// The service is not ready before [Service.Run] is called, so that the program can add
// what it has to add; the health endpoints are served from the beginning.
//
// The context is for Start only. While no server answers it tries again until the
// context ends: give it a deadline.
//
// The error is a [ConfigError]; a [ConnectError]; one of embedded.Start or of
// [eventstore.Open]; or why the address for the health endpoints, or the folder for
// the high-water mark, cannot be used. Nothing is left running then.
func Start(ctx context.Context, c Config, opts *Options) (*Service, error) {
	s, err := newService(c, opts)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.abandon()
		return nil, err
	}
	s.log.Info("started", "log", s.config.Log, "health", s.HealthAddress())
	return s, nil
}

func newService(c Config, opts *Options) (*Service, error) {
	if opts == nil {
		opts = &Options{}
	}
	alone := len(c.Servers) == 0 && opts.Connect == nil
	c, err := c.complete(alone)
	if err != nil {
		return nil, err
	}
	if opts.Connect != nil && len(c.Servers) > 0 {
		return nil, &ConfigError{mistakes{{"NATS_SERVERS", "the program connects by itself, with Options.Connect"}}}
	}
	s := &Service{config: c, opts: *opts, alone: alone, begun: make(chan struct{})}
	s.log = cmp.Or(opts.Logger, slog.Default()).With("service", c.Service, "instance", c.Instance)
	s.conn = &connection{servers: c.Servers, log: s.log, hook: opts.OnConnection, closed: make(chan struct{})}
	if len(c.Servers) == 0 {
		s.conn.servers = []string{"the server in this process"}
	}
	s.background, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func (s *Service) start(ctx context.Context) (err error) {
	if s.web, err = serveHealth(s.config.HealthAddress, s.webHandler()); err != nil {
		return fmt.Errorf("health endpoints: %w", err)
	}
	if err := cmp.Or(makeFolder(s.config.DataDir), makeFolder(s.config.HighWaterDir)); err != nil {
		return err
	}
	if s.alone {
		if err := s.startServer(ctx); err != nil {
			return err
		}
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.open(ctx)
}

func makeFolder(path string) error {
	if path == "" {
		return nil
	}
	return os.MkdirAll(path, 0o750)
}

// startServer starts the embedded server. Who forgot to name servers is told.
func (s *Service) startServer(ctx context.Context) (err error) {
	var opts embedded.Options
	if s.opts.Embedded != nil {
		opts = *s.opts.Embedded
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(warnings{s.log.Handler()}))
	dir := filepath.Join(s.config.DataDir, "nats")
	s.log.Warn("no NATS server is named: the log is kept in this process", "folder", dir)
	s.server, err = embedded.Start(ctx, dir, &opts)
	return err
}

// warnings passes on nothing less.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (s *Service) open(ctx context.Context) error {
	var opts eventstore.Options
	if s.opts.Log != nil {
		opts = *s.opts.Log
	}
	opts.Replicas = cmp.Or(s.config.Replicas, opts.Replicas)
	opts.AckWait = cmp.Or(s.config.AckWait, opts.AckWait)
	opts.OnDamage = s.onDamage
	if s.config.HighWaterDir != "" {
		var err error
		if opts.HighWater, err = s.highWater(); err != nil {
			return err
		}
	}
	store, err := eventstore.Open(ctx, s.nc, s.config.Log, &opts)
	if err != nil {
		return err
	}
	s.mu.Lock() // the health endpoints are served already
	defer s.mu.Unlock()
	s.store = store
	return nil
}

// highWater returns the path of the high-water mark, which it locks: two processes of
// the same name would overwrite each other's.
func (s *Service) highWater() (path string, err error) {
	c := s.config
	path = filepath.Join(c.HighWaterDir, fmt.Sprintf("%s.%s.%s", c.Service, c.Instance, c.Log))
	s.mark, err = lock.Take(path + ".lock")
	if errors.Is(err, lock.ErrLocked) {
		err = errors.New("another process has it: give each instance a HEADWATER_INSTANCE of its own")
	}
	if err != nil {
		return "", fmt.Errorf("high-water mark %s: %w", path, err)
	}
	return path, nil
}

// onDamage notes what was found, and passes it on.
func (s *Service) onDamage(damage *eventstore.CorruptionError) {
	s.log.Error("the log is damaged", "error", damage)
	s.mu.Lock()
	s.damage = cmp.Or(s.damage, damage)
	s.mu.Unlock()
	if o := s.opts.Log; o != nil && o.OnDamage != nil {
		o.OnDamage(damage)
	}
}

// abandon stops what a failed start has begun.
func (s *Service) abandon() {
	s.cancel()
	if s.nc != nil {
		s.nc.Close()
		<-s.conn.closed
	}
	_ = s.free() // why it did not start is what counts
}

// free lets go what is there besides the connection.
func (s *Service) free() error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	if s.mark != nil {
		errs = append(errs, s.mark.Close())
	}
	return errors.Join(append(errs, s.web.close())...)
}

// Conn returns the connection. The service closes it.
func (s *Service) Conn() *nats.Conn { return s.nc }

// Log returns the log.
func (s *Service) Log() *eventstore.Store { return s.store }

// Logger returns the logger, which adds the names of service and instance.
func (s *Service) Logger() *slog.Logger { return s.log }

// Config returns the configuration with its defaults in place.
func (s *Service) Config() Config { return s.config }
