package service

import (
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// tally counts the requests of an endpoint.
type tally struct {
	mu     sync.Mutex
	n      int
	errors int
	last   string
	took   time.Duration
}

// count counts a request that was answered, with an error or "".
func (t *tally) count(took time.Duration, wrong string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	t.took += took
	if wrong != "" {
		t.errors++
		t.last = wrong
	}
}

// discoverable lets the responder answer what tools ask all services, or those of a
// name, or one.
func (r *Responder) discoverable() error {
	for verb, about := range map[micro.Verb]func() any{
		micro.PingVerb: r.ping, micro.InfoVerb: r.info, micro.StatsVerb: r.stats,
	} {
		for _, of := range [][2]string{{"", ""}, {r.service, ""}, {r.service, r.id}} {
			subject, err := micro.ControlSubject(verb, of[0], of[1])
			if err != nil {
				return err
			}
			if err := r.listen(subject, "", func(m *nats.Msg) { r.tell(m, about()) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Responder) tell(m *nats.Msg, about any) {
	if !answerable(m) {
		return
	}
	data, err := json.Marshal(about)
	if err != nil {
		panic(err) // it has only texts and numbers
	}
	r.send(m, &nats.Msg{Subject: m.Reply, Data: data})
}

func (r *Responder) identity() micro.ServiceIdentity {
	metadata := r.opts.Metadata
	if metadata == nil {
		metadata = map[string]string{} // tools expect an object
	}
	return micro.ServiceIdentity{Name: r.service, ID: r.id, Version: r.opts.Version, Metadata: metadata}
}

func (r *Responder) ping() any {
	return micro.Ping{ServiceIdentity: r.identity(), Type: micro.PingResponseType}
}

func (r *Responder) info() any {
	info := micro.Info{
		ServiceIdentity: r.identity(), Type: micro.InfoResponseType, Description: r.opts.Description,
		Endpoints: []micro.EndpointInfo{},
	}
	for _, e := range r.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{
			Name: e.name(), Subject: e.subject, QueueGroup: micro.DefaultQueueGroup, Metadata: maps.Clone(e.metadata),
		})
	}
	return info
}

func (r *Responder) stats() any {
	stats := micro.Stats{
		ServiceIdentity: r.identity(), Type: micro.StatsResponseType, Started: r.began,
		Endpoints: []*micro.EndpointStats{},
	}
	for _, e := range r.endpoints {
		stats.Endpoints = append(stats.Endpoints, e.stats())
	}
	return stats
}

func (e *endpoint) stats() *micro.EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &micro.EndpointStats{
		Name: e.name(), Subject: e.subject, QueueGroup: micro.DefaultQueueGroup,
		NumRequests: e.n, NumErrors: e.errors, LastError: e.last,
		ProcessingTime: e.took, AverageProcessingTime: e.took / time.Duration(max(e.n, 1)),
	}
}

// name is the endpoint's name for tools, which may have no '.'.
func (e *endpoint) name() string {
	return strings.ReplaceAll(strings.Replace(e.Endpoint.subject, queryRoot, "query.", 1), ".", "-")
}
