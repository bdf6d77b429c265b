package eventstore_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A proxy stands between clients and a server on the loopback interface. It
// cuts their connections, or holds back what one of them says.
type proxy struct {
	listen net.Listener
	work   sync.WaitGroup

	mu     sync.Mutex
	target string
	wake   sync.Cond
	closed bool
	conns  map[net.Conn]bool
	held   [2]bool // per direction
	random *rand.Rand
	cut    func() (moment, int) // chooses the next cut; nil: there are none
	log    string               // whose appends are cut
	next   moment               // of the next cut
	left   int                  // appends, answers or bytes until then
	cuts   [3]int               // so far, by moment
}

type direction int

const (
	toServer direction = iota
	toClient
)

// A moment is when a connection is cut.
type moment int

const (
	inAppend moment = iota // somewhere in the message, or before or after it
	inAnswer               // the same for the ack
	anywhere               // after so many bytes from the server, whatever they say
)

// startProxy starts a proxy to the server at url.
func startProxy(t *testing.T, url string, random *rand.Rand) *proxy {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		listen: listen, conns: make(map[net.Conn]bool),
		random: rand.New(rand.NewPCG(random.Uint64(), random.Uint64())),
	}
	p.wake.L = &p.mu
	p.redirect(url)
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "nats://" + p.listen.Addr().String() }

// redirect makes further connections go to the server at url.
func (p *proxy) redirect(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = strings.TrimPrefix(url, "nats://")
}

func (p *proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.work.Go(func() { p.pump(toServer, server, client) })
		p.work.Go(func() { p.pump(toClient, client, server) })
	}
}

// keep remembers the two halves of a connection, which close drops.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
		if p.closed {
			c.Close()
		}
	}
	return !p.closed
}

// drop closes connections, with what was not passed on.
func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.conns, c)
	}
	p.wake.Broadcast()
}

func (p *proxy) pump(d direction, to, from net.Conn) {
	defer p.drop(to, from)
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		pass, cut := p.pass(d, from, buf[:n])
		if _, failed := to.Write(buf[:pass]); failed != nil || err != nil || cut {
			return
		}
	}
}

// pass says how many bytes go on, and whether the connection is cut then. It
// waits while the direction is held.
func (p *proxy) pass(d direction, from net.Conn, data []byte) (n int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held[d] && p.conns[from] {
		p.wake.Wait()
	}
	if !p.conns[from] {
		return 0, true
	}
	if p.cut == nil {
		return len(data), false
	}
	switch {
	case p.next == inAppend && d == toServer:
		p.left -= bytes.Count(data, []byte("HPUB "+p.log+"."))
	case p.next == inAnswer && d == toClient:
		p.left -= bytes.Count(data, []byte(`{"stream":"`+p.log+`"`))
	case p.next == anywhere && d == toClient:
		p.left -= len(data)
	}
	if p.left > 0 {
		return len(data), false
	}
	p.cuts[p.next]++
	p.next, p.left = p.cut()
	return p.random.IntN(len(data) + 1), true
}

// cutAppends begins to cut connections at random, at appends to a log above
// all.
func (p *proxy) cutAppends(log string) {
	p.startCutting(log, func() (moment, int) {
		switch p.random.IntN(4) {
		case 0:
			return inAppend, 1 + p.random.IntN(3)
		case 1:
			return anywhere, 1 + p.random.IntN(8000)
		}
		return inAnswer, 1 + p.random.IntN(3)
	})
}

// cutEvery begins to cut connections after so many bytes on average.
func (p *proxy) cutEvery(bytes int) {
	p.startCutting("", func() (moment, int) { return anywhere, 1 + p.random.IntN(2*bytes) })
}

func (p *proxy) startCutting(log string, cut func() (moment, int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log, p.cut = log, cut
	p.next, p.left = p.cut()
}

// stopCutting lets everything pass from now on.
func (p *proxy) stopCutting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = nil
}

// hold keeps back what comes from now on in one direction.
func (p *proxy) hold(d direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[d] = true
}

// release passes on what was held.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = [2]bool{}
	p.wake.Broadcast()
}

// lose cuts the connections and loses what was held.
func (p *proxy) lose() {
	p.mu.Lock()
	var all []net.Conn
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	p.drop(all...)
	p.release()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listen.Close()
	p.lose()
	p.work.Wait()
}

// proxies starts one for each node.
func (s site) proxies(t *testing.T, random *rand.Rand) (all []*proxy) {
	t.Helper()
	for _, url := range s.urls {
		all = append(all, startProxy(t, url, random))
	}
	return all
}

// through returns a connection by way of proxies, and of them only.
func through(t *testing.T, all []*proxy, opts ...nats.Option) *nats.Conn {
	t.Helper()
	var urls []string
	for _, p := range all {
		urls = append(urls, p.url())
	}
	opts = append([]nats.Option{
		nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(time.Millisecond, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	nc, err := nats.Connect(strings.Join(urls, ","), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
