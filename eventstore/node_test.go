package eventstore_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// nodeEnv makes the test binary a NATS server, for tests that need one in a
// process that can be killed. Its value is a node as JSON.
const nodeEnv = "HEADWATER_TEST_NODE"

// A node is a JetStream server in a process of its own, of a cluster if there
// are others. It ends when its standard input does.
type node struct {
	Name   string
	Dir    string
	Secret string // keeps other servers off the routes
	Client int    // ports
	Route  int
	Routes []int // of all nodes

	cmd   *exec.Cmd
	stdin io.Closer
	out   io.Reader
}

// runNode is the program of a node. It never returns.
func runNode(config string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	var n node
	fail(json.Unmarshal([]byte(config), &n))
	srv, err := server.NewServer(n.options())
	fail(err)
	srv.SetLogger(nodeLog{}, false, false)
	go srv.Start()
	if !srv.ReadyForConnections(patience) {
		fail(fmt.Errorf("%s does not become ready", n.Name))
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	fail(err)
	os.Exit(0)
}

func (n *node) options() *server.Options {
	opts := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoSigs: true,
		JetStream: true, StoreDir: n.Dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40, DisableJetStreamBanner: true,
	}
	if len(n.Routes) == 1 {
		return opts
	}
	opts.Cluster = server.ClusterOpts{Name: "linear", Host: opts.Host, Port: n.Route, Username: "route", Password: n.Secret}
	for _, port := range n.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", User: url.UserPassword("route", n.Secret), Host: loopback(port)})
	}
	return opts
}

// nodeLog lets a node end where the server cannot go on.
type nodeLog struct{}

func (nodeLog) Noticef(string, ...any) {}
func (nodeLog) Warnf(string, ...any)   {}
func (nodeLog) Errorf(string, ...any)  {}
func (nodeLog) Debugf(string, ...any)  {}
func (nodeLog) Tracef(string, ...any)  {}

func (nodeLog) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (n *node) url() string { return "nats://" + loopback(n.Client) }

// startNodes starts nodes that end with the test.
func startNodes(t *testing.T, count int) []*node {
	t.Helper()
	dir, secret := t.TempDir(), rand.Text()
	nodes := make([]*node, count)
	t.Cleanup(func() {
		for _, n := range nodes {
			n.kill()
		}
	})
	for i := range nodes {
		name := fmt.Sprint("node-", i)
		nodes[i] = &node{Name: name, Dir: filepath.Join(dir, name), Secret: secret}
	}
	for i := range nodes {
		takePorts(t, nodes, i)
	}
	for i := range nodes {
		nodes[i].launch(t, nodes)
	}
	for i := range nodes {
		awaitNode(t, nodes, i)
	}
	return nodes
}

// takePorts gives a node ports that were free a moment ago. Which it has for
// routes the others must know before they start, or it connects to them.
func takePorts(t *testing.T, nodes []*node, i int) {
	t.Helper()
	for _, port := range []*int{&nodes[i].Client, &nodes[i].Route} {
		l, err := net.Listen("tcp", loopback(0))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
}

// awaitNode waits until a node that was launched accepts connections. If it
// does not, another process may have taken its ports, and it gets others.
func awaitNode(t *testing.T, nodes []*node, i int) {
	t.Helper()
	const tries = 5
	n := nodes[i]
	for range tries {
		if n.ready() {
			return
		}
		n.kill()
		takePorts(t, nodes, i)
		n.launch(t, nodes)
	}
	t.Fatalf("%s does not start", n.Name)
}

// launch starts the process.
func (n *node) launch(t *testing.T, all []*node) {
	t.Helper()
	n.Routes = nil
	for _, other := range all {
		n.Routes = append(n.Routes, other.Route)
	}
	config, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(config))
	cmd.Stderr = os.Stderr
	apart(cmd)
	if n.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if n.out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.cmd = cmd
}

// ready waits until the server accepts connections, and reports whether it
// does.
func (n *node) ready() bool { return bufio.NewScanner(n.out).Scan() }

// kill ends the process as kill -9 does, also where it is paused.
func (n *node) kill() {
	if n == nil || n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // fails where it has ended already
	_ = n.cmd.Wait()
	n.cmd = nil
}
