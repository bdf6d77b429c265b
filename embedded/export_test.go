package embedded

import (
	"context"

	"github.com/nats-io/nats-server/v2/server"
)

// StoreConfig is what the running server itself says about its store.
func (s *Server) StoreConfig() *server.JetStreamConfig { return s.srv.JetStreamConfig() }

// NoSpace reports the text of an error from which the server recovers.
func NoSpace(text string) bool { return noSpace(text) }

// Reopen opens all streams anew.
func (s *Server) Reopen(ctx context.Context, failed ...string) error { return s.reopen(ctx, failed) }
