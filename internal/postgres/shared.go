package postgres

import (
	"sync"
	"testing"
)

// shared is a server for all tests of a process that run at the same time.
var shared struct {
	mu     sync.Mutex
	server *Server
	users  int
}

// Start returns how to open a new database, see [Server.Database]. The tests of a
// package that run at the same time share one server, which waits for the disk; it
// is stopped when the last of them ends. Where PostgreSQL is not installed the test
// is skipped.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	s := share(t)
	t.Cleanup(func() { release(t) })
	return s.Database(t)
}

func share(t testing.TB) *Server {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users == 0 {
		shared.server = start(t, nil)
	}
	shared.users++
	return shared.server
}

func release(t testing.TB) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users--; shared.users == 0 {
		shared.server.remove(t)
	}
}
