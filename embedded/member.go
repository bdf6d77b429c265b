package embedded

import (
	"net"
	"net/url"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// member is what a server has to know to be a node of a cluster.
type member struct {
	name   string
	secret string
	ports  ports
	routes []*url.URL // of all nodes, its own included: the server counts them
}

func (c *Cluster) member(i int) *member {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m := &member{name: nodeName(i), secret: c.secret, ports: c.ports[i]}
	for _, p := range c.ports {
		m.routes = append(m.routes, &url.URL{
			Scheme: "nats",
			User:   url.UserPassword(routeUser, c.secret),
			Host:   loopback(p.route),
		})
	}
	return m
}

const (
	loopbackIP = "127.0.0.1"
	routeUser  = "route"

	// routePool is the server's default number of connections between two
	// nodes, besides which the system account has its own.
	routePool = server.DEFAULT_ROUTE_POOL_SIZE
)

func (m *member) apply(so *server.Options) {
	so.ServerName = m.name
	so.DontListen = false
	so.Host, so.Port = loopbackIP, m.ports.client
	so.Routes = m.routes
	so.Cluster = server.ClusterOpts{
		Name:     "headwater",
		Host:     loopbackIP,
		Port:     m.ports.route,
		Username: routeUser,
		Password: m.secret,
		PoolSize: routePool,
	}
}

// freePorts returns ports for n nodes that were free a moment ago, no two the
// same. A server can only be told its routes' ports before it starts, so it
// cannot be left to choose its own.
func freePorts(n int) ([]ports, error) {
	free := make([]int, 2*n)
	for i := range free {
		l, err := net.Listen("tcp", loopback(0))
		if err != nil {
			return nil, err
		}
		defer l.Close()
		free[i] = l.Addr().(*net.TCPAddr).Port
	}
	all := make([]ports, n)
	for i := range all {
		all[i] = ports{client: free[2*i], route: free[2*i+1]}
	}
	return all, nil
}

func loopback(port int) string { return net.JoinHostPort(loopbackIP, strconv.Itoa(port)) }
