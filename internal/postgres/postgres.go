// Package postgres starts PostgreSQL servers for tests, from the binaries that are
// installed. A server is on a socket in a temporary folder, where nobody else comes,
// and gone with everything in it when the test ends.
package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// patience is for how long a server may take to start or stop.
const patience = time.Minute

// Options are what a server may be started with. The zero value of each field is
// its default.
type Options struct {
	// NoSync leaves out waiting for the disk: the server loses what it has
	// acknowledged if the machine loses its power. Default: it waits.
	NoSync bool
	// Settings are put into the configuration, for example
	// "max_connections=20".
	Settings []string
}

// Server is a PostgreSQL server.
type Server struct {
	opts      Options
	dir       string // with the data, the log and the socket
	bin       string
	owner     *owner // nil: the user of this process
	process   *process
	mu        sync.Mutex
	databases int
}

// New starts a server, which is stopped when the test ends. Where PostgreSQL is not
// installed the test is skipped.
func New(t testing.TB, opts *Options) *Server {
	t.Helper()
	s := start(t, opts)
	t.Cleanup(func() { s.remove(t) })
	return s
}

func start(t testing.TB, opts *Options) *Server {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	s := &Server{opts: *opts, bin: binaries(t)}
	if err := s.makeDir(); err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	ready := false
	defer func() {
		if !ready {
			s.remove(t)
		}
	}()
	initialize := s.command("initdb", "--pgdata="+s.data(), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := initialize.CombinedOutput(); err != nil {
		t.Fatalf("PostgreSQL: initdb: %v\n%s", err, out)
	}
	s.Start(t)
	ready = true
	return s
}

// binaries returns the folder with PostgreSQL's programs.
func binaries(t testing.TB) string {
	t.Helper()
	var places []string
	if out, err := exec.CommandContext(t.Context(), "pg_config", "--bindir").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(out)))
	}
	versions, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is sound
	slices.Reverse(versions)
	for _, place := range append(places, versions...) {
		_, noServer := os.Stat(filepath.Join(place, "postgres"))
		_, noInit := os.Stat(filepath.Join(place, "initdb"))
		if noServer == nil && noInit == nil {
			return place
		}
	}
	t.Skip("PostgreSQL is not installed: there is no postgres and initdb where pg_config says, or in /usr/lib/postgresql")
	return ""
}

// makeDir makes the server's folder. The path of a socket is at most about 100
// bytes long, so it is not that of the test.
func (s *Server) makeDir() (err error) {
	if s.dir, err = os.MkdirTemp("", "headwater-pg-"); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	// PostgreSQL refuses to run as root.
	if s.owner, err = unprivileged(); err != nil {
		return err
	}
	return os.Chown(s.dir, s.owner.uid, s.owner.gid)
}

// owner is a user of the system that the server runs as.
type owner struct{ uid, gid int }

func unprivileged() (*owner, error) {
	found, err := user.Lookup("postgres")
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(found.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(found.Gid)
	return &owner{uid, gid}, err
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is one of PostgreSQL's programs, as the server's owner.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir // that user may have no right to be in this process's one
	cmd.SysProcAttr = attributes(s.owner)
	return cmd
}

// process is a server that runs.
type process struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended chan struct{}
}

// Start starts the server again after [Server.Stop], with what is on its disk.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	settings := append([]string{
		"listen_addresses=", "unix_socket_directories=" + s.dir, "fsync=" + onOff(!s.opts.NoSync), "max_connections=200",
	}, s.opts.Settings...)
	args := []string{"-D", s.data()}
	for _, one := range settings {
		args = append(args, "-c", one)
	}
	p := &process{cmd: s.command("postgres", args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // that it ended is what matters
	}()
	s.process = p
	s.await(t)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// await waits until the server answers.
func (s *Server) await(t testing.TB) {
	t.Helper()
	db := s.admin(t)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.process.ended:
			t.Fatalf("PostgreSQL ended: %v\n%s", err, s.process.out.String())
		case <-ctx.Done():
			s.end(syscall.SIGKILL)
			t.Fatalf("PostgreSQL does not answer: %v\n%s", err, s.process.out.String())
		}
	}
}

// Stop ends the server at once, as a crash does, except that what it has written
// stays. [Server.Start] starts it again.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if !s.end(syscall.SIGQUIT) {
		t.Fatalf("PostgreSQL does not stop")
	}
}

// end sends the server a signal and waits until it has ended.
func (s *Server) end(signal os.Signal) bool {
	_ = s.process.cmd.Process.Signal(signal) // if it fails it has ended
	select {
	case <-s.process.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

func (s *Server) remove(t testing.TB) {
	if s.process != nil && !s.end(syscall.SIGINT) && !s.end(syscall.SIGKILL) {
		t.Errorf("PostgreSQL, process %d, does not end", s.process.cmd.Process.Pid)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Errorf("PostgreSQL: %v", err)
	}
}

// Database makes a database and returns how to open it:
//
//	db, err := sql.Open("pgx", server.Database(t))
//
// It is removed when the test ends, whoever still uses it.
func (s *Server) Database(t testing.TB) (dsn string) {
	t.Helper()
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("test%d", s.databases)
	s.mu.Unlock()
	s.administer(t, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		select {
		case <-s.process.ended: // the test has stopped it
		default:
			s.administer(t, "DROP DATABASE "+name+" WITH (FORCE)")
		}
	})
	return s.dsn(name)
}

func (s *Server) administer(t testing.TB, statement string) {
	t.Helper()
	db := s.admin(t)
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement); err != nil { // also in a cleanup
		t.Fatalf("PostgreSQL: %s: %v", statement, err)
	}
}

func (s *Server) admin(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	return db
}

func (s *Server) dsn(database string) string {
	return fmt.Sprintf("host='%s' port=5432 user=postgres dbname=%s sslmode=disable", s.dir, database)
}
