package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"
)

// portTries is how often a node is started anew because another process took
// a port that was free a moment ago.
const portTries = 5

// Cluster is several JetStream servers in this process, which replicate to
// each other over the loopback interface. It is for tests and development:
// one machine, one process and usually one disk protect from nothing. Its
// methods may be called from several goroutines at once.
type Cluster struct {
	dir    string
	opts   Options
	secret string // keeps servers that are not of this cluster off its routes
	conns  conns

	life   sync.Mutex // held while nodes stop or start
	closed bool       // guarded by life

	mu    sync.RWMutex // guards the elements of both
	nodes []*Server
	ports []ports
}

// ports are a node's. Others know them, so it keeps them when it restarts.
type ports struct{ client, route int }

// StartCluster starts three or five nodes, each with a folder of its own in
// dir, named node-0 and so on, and waits until a stream of as many replicas
// can be created. To open the same folder again give it the same number.
//
// The context bounds the wait, as in [Start]; without a deadline it is five
// minutes. Options apply to each node, but not Listen, which must be empty:
// nodes listen on loopback ports that the operating system chooses. The log
// lines of a node have its name in the attribute "node".
//
// The error joins those that Start returned for nodes, or is a *[StartError].
// After an error no node is running, except as [Start] says. A node does not
// report damaged streams: it fetches them from the others.
func StartCluster(ctx context.Context, dir string, nodes int, opts *Options) (*Cluster, error) {
	c, err := newCluster(dir, nodes, opts)
	if err != nil {
		return nil, &StartError{Dir: dir, Err: err}
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	if err := c.startAll(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Connect returns a new connection that moves to another node when its own
// stops, and that Close closes. It returns [ErrClosed] after Close, or the
// error of nats.Connect.
func (c *Cluster) Connect(opts ...nats.Option) (*nats.Conn, error) {
	c.mu.RLock()
	urls := make([]string, len(c.ports))
	for i, p := range c.ports {
		urls[i] = "nats://" + loopback(p.client)
	}
	c.mu.RUnlock()
	return c.conns.connect(strings.Join(urls, ","), opts)
}

// Node returns node i, counted from 0: its server, closed if the node is
// stopped. After a restart it is another one. Node panics if there is no node i.
func (c *Cluster) Node(i int) *Server {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.nodes[i]
}

// Stop stops node i and waits until it has stopped. Stopping a stopped node
// does nothing. It returns the error of Server.Close and panics if there is
// no node i.
func (c *Cluster) Stop(i int) error {
	c.life.Lock()
	defer c.life.Unlock()
	return c.Node(i).Close()
}

// Restart starts node i again, having stopped it if it was running. When all
// nodes are running then, it waits until all have caught up: they have joined
// the cluster, and their replicas of each stream have what its leader had. When
// others are still stopped there may be nothing to wait for, and it returns as
// soon as the node is up.
//
// The context bounds the wait as in [Start], and the error is one that Start
// returns, or [ErrClosed] after Close. After an error the node is stopped.
// Restart panics if there is no node i.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return ErrClosed
	}
	if err := c.Node(i).Close(); err != nil {
		return err
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	if err := c.startNode(ctx, i); err != nil {
		return err
	}
	if len(c.running()) < len(c.nodes) {
		return nil // what it lacks may be on a stopped node alone
	}
	if err := c.waitReady(ctx); err != nil {
		_ = c.Node(i).Close()
		return &StartError{Dir: c.nodeDir(i), Err: err}
	}
	return nil
}

// Close closes the connections made by Connect, here and at the nodes, and
// stops all nodes. It waits for a Restart under way. It may be called again;
// it returns the errors of Server.Close.
func (c *Cluster) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	c.closed = true
	c.conns.close()
	return c.each(func(i int) error {
		if s := c.Node(i); s != nil { // nil: it never started
			return s.Close()
		}
		return nil
	})
}

func newCluster(dir string, nodes int, opts *Options) (*Cluster, error) {
	if opts == nil {
		opts = new(Options)
	}
	if nodes != 3 && nodes != 5 {
		return nil, fmt.Errorf("a cluster has 3 or 5 nodes, not %d", nodes)
	}
	if opts.Listen != "" {
		return nil, errors.New("Options.Listen is for a single server; a cluster chooses its own ports")
	}
	c := &Cluster{
		dir:    dir,
		opts:   *opts,
		secret: rand.Text(),
		nodes:  make([]*Server, nodes),
	}
	var err error
	c.ports, err = freePorts(nodes)
	return c, err
}

// startAll starts all nodes at once, since none is ready without others.
func (c *Cluster) startAll(ctx context.Context) error {
	err := c.each(func(i int) error { return c.startNode(ctx, i) })
	if err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return &StartError{Dir: c.dir, Err: err}
	}
	return nil
}

// startNode starts node i on its ports, or on others if another process has
// taken one of them: other nodes then learn the new ones from node i, which
// connects to them.
func (c *Cluster) startNode(ctx context.Context, i int) error {
	var err error
	for range portTries {
		var s *Server
		s, err = start(ctx, c.nodeDir(i), c.nodeOptions(i), c.member(i))
		if err == nil {
			c.set(i, s, c.ports[i])
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		fresh, err := freePorts(1)
		if err != nil {
			return &StartError{Dir: c.nodeDir(i), Err: err}
		}
		c.set(i, c.Node(i), fresh[0])
	}
	return err
}

func (c *Cluster) set(i int, s *Server, p ports) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i], c.ports[i] = s, p
}

func (c *Cluster) nodeOptions(i int) *Options {
	opts := c.opts
	if opts.Logger != nil {
		opts.Logger = opts.Logger.With("node", nodeName(i))
	}
	return &opts
}

func (c *Cluster) nodeDir(i int) string { return filepath.Join(c.dir, nodeName(i)) }

// nodeName is also the node's identity in the replication groups on the disk.
func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// each calls f for all nodes at the same time and joins the errors.
func (c *Cluster) each(f func(i int) error) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
