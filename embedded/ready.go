package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// running returns the nodes that are not stopped.
func (c *Cluster) running() []*Server {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(c.nodes), func(s *Server) bool { return !s.srv.Running() })
}

// waitReady waits until all running nodes work together and have what the
// leader of each stream had when it was first seen. If the context ends first,
// the error says what was missing.
func (c *Cluster) waitReady(ctx context.Context) error {
	var missing error
	want := make(map[string]uint64)
	err := poll(ctx, func() (bool, error) {
		missing = c.missing(want)
		return missing == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", missing, err)
	}
	return nil
}

// missing says what keeps the running nodes from serving replicated streams.
// It adds to want the last sequences to wait for, by stream.
func (c *Cluster) missing(want map[string]uint64) error {
	running := c.running()
	lead := slices.IndexFunc(running, func(s *Server) bool { return s.srv.JetStreamIsLeader() })
	if lead < 0 {
		return errors.New("no leader is elected yet")
	}
	peers := running[lead].srv.JetStreamClusterPeers()
	for _, s := range running {
		if !slices.Contains(peers, s.srv.Name()) {
			return fmt.Errorf("%s has not joined yet", s.srv.Name())
		}
		for _, to := range running {
			if to != s && !s.routed(to) {
				return fmt.Errorf("%s is not connected to %s yet", s.srv.Name(), to.srv.Name())
			}
		}
		if !s.srv.JetStreamIsCurrent() {
			return fmt.Errorf("%s is not current yet", s.srv.Name())
		}
		if h := s.srv.Healthz(nil); h.Error != "" {
			return fmt.Errorf("%s is not ready yet: %s", s.srv.Name(), h.Error)
		}
	}
	return missingMessages(running, want)
}

// routed reports whether all connections to another node are up, and that of
// the system account has carried the other's subscriptions. Nodes that dial
// each other at the same time both hang up and try again a second later; until
// then messages between the two, such as votes and answers, are lost even if
// both follow the same leader.
func (s *Server) routed(to *Server) bool {
	z, err := s.srv.Routez(nil)
	if err != nil {
		return false
	}
	var conns, system int
	for _, r := range z.Routes {
		if r.RemoteID != to.srv.ID() {
			continue
		}
		conns++
		if r.Account == server.DEFAULT_SYSTEM_ACCOUNT && r.NumSubs > 0 {
			system++
		}
	}
	return conns > routePool && system > 0
}

// missingMessages is needed because a replica that has not heard of a leader
// since it started counts as healthy, whatever it lacks.
func missingMessages(running []*Server, want map[string]uint64) error {
	var replicas []replica
	for _, s := range running {
		replicas = append(replicas, s.replicas()...)
	}
	for _, r := range replicas {
		if r.leader == "" {
			return fmt.Errorf("%s knows no leader of %s yet", r.node, r.name)
		}
		if last, ok := want[r.name]; r.leader == r.node && (!ok || r.last < last) { // less: it is a new stream
			want[r.name] = r.last
		}
	}
	for _, r := range replicas {
		if r.last < want[r.name] {
			return fmt.Errorf("%s has %s up to %d of %d", r.node, r.name, r.last, want[r.name])
		}
	}
	return nil
}

// replica is a node's view of a stream or consumer it has a replica of.
type replica struct {
	node, name, leader string
	last               uint64 // sequence, of a stream
}

func (s *Server) replicas() []replica {
	info, err := s.srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true})
	if err != nil {
		return nil // it is being stopped
	}
	var all []replica
	node := s.srv.Name()
	for _, a := range info.AccountDetails {
		for _, st := range a.Streams {
			all = append(all, replica{node, "stream " + st.Name, leader(st.Cluster), st.State.LastSeq})
			for _, co := range st.Consumer {
				name := fmt.Sprintf("consumer %s of stream %s", co.Name, st.Name)
				all = append(all, replica{node, name, leader(co.Cluster), 0})
			}
		}
	}
	return all
}

func leader(ci *server.ClusterInfo) string {
	if ci == nil {
		return ""
	}
	return ci.Leader
}
