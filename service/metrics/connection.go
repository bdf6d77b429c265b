package metrics

import (
	"sync"

	"github.com/headwater-go/headwater/service"
	"github.com/prometheus/client_golang/prometheus"
)

// connection are the figures of a connection.
type connection struct {
	mu                          *sync.Mutex
	connected                   *bool
	up                          prometheus.Gauge
	losses, reconnects, refused prometheus.Counter
}

func newConnection() connection {
	return connection{
		mu: new(sync.Mutex), connected: new(bool),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "connection_up", Help: "Whether there is a connection to a server: 1, or 0.",
		}),
		losses:     counter("connection_losses_total", "How often the connection was lost."),
		reconnects: counter("connection_reconnects_total", "How often the connection came back."),
		refused:    counter("connection_refusals_total", "What the server refused, or the connection dropped."),
	}
}

func (c connection) all() []prometheus.Collector {
	return []prometheus.Collector{c.up, c.losses, c.reconnects, c.refused}
}

func (c connection) count(s service.ConnStatus) {
	switch s.State {
	case service.Connected:
		c.is(true)
	case service.Reconnected:
		c.reconnects.Inc()
		c.is(true)
	case service.Disconnected:
		// That it is disconnected is told again, when the reason is another one.
		if c.is(false) {
			c.losses.Inc()
		}
	case service.Closed:
		c.is(false)
	case service.Refused:
		c.refused.Inc()
	}
}

// is notes whether there is a connection, and returns whether there was one.
func (c connection) is(connected bool) (before bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, *c.connected = *c.connected, connected
	c.up.Set(0)
	if connected {
		c.up.Set(1)
	}
	return before
}
