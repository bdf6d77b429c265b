// Package natsnode runs NATS servers with JetStream in processes of their own, alone
// or as a cluster, for tests that kill and pause them. A server's process is the test
// binary, whose TestMain calls Main first.
package natsnode

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
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// env makes the test binary a server. Its value is a Node as JSON.
const env = "HEADWATER_TEST_NODE"

// patience is for how long a server may take to start.
const patience = time.Minute

// Node is a server, of a cluster if there are others. It ends when its standard input
// does, and so with the test's process.
type Node struct {
	Name   string
	Dir    string
	Secret string // keeps other servers off the routes
	Client int    // ports
	Route  int
	Routes []int // of all nodes

	all   []*Node
	cmd   *exec.Cmd
	stdin io.Closer
	out   io.Reader
}

// Main is the program of a server, if the process is to be one: it then never returns.
func Main() {
	config := os.Getenv(env)
	if config == "" {
		return
	}
	if err := run(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(config string) error {
	var n Node
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	srv, err := server.NewServer(n.options())
	if err != nil {
		return err
	}
	srv.SetLogger(logger{}, false, false)
	go srv.Start()
	if !srv.ReadyForConnections(patience) {
		return fmt.Errorf("%s does not become ready", n.Name)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func (n *Node) options() *server.Options {
	opts := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoSigs: true,
		JetStream: true, StoreDir: n.Dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40, DisableJetStreamBanner: true,
	}
	if len(n.Routes) == 1 {
		return opts
	}
	opts.Cluster = server.ClusterOpts{Name: "nodes", Host: opts.Host, Port: n.Route, Username: "route", Password: n.Secret}
	for _, port := range n.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", User: url.UserPassword("route", n.Secret), Host: loopback(port)})
	}
	return opts
}

// logger lets a process end where its server cannot go on.
type logger struct{}

func (logger) Noticef(string, ...any) {}
func (logger) Warnf(string, ...any)   {}
func (logger) Errorf(string, ...any)  {}
func (logger) Debugf(string, ...any)  {}
func (logger) Tracef(string, ...any)  {}

func (logger) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Start starts servers that end with the test: several are a cluster. Each keeps its
// data in a folder of its own.
func Start(t testing.TB, count int) []*Node {
	t.Helper()
	dir, secret := t.TempDir(), rand.Text()
	nodes := make([]*Node, count)
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Kill()
		}
	})
	for i := range nodes {
		name := fmt.Sprint("node-", i)
		nodes[i] = &Node{Name: name, Dir: filepath.Join(dir, name), Secret: secret, all: nodes}
	}
	for _, n := range nodes {
		n.takePorts(t)
	}
	for _, n := range nodes {
		n.launch(t)
	}
	for _, n := range nodes {
		n.await(t)
	}
	return nodes
}

// URL returns the server's address for clients.
func (n *Node) URL() string { return "nats://" + loopback(n.Client) }

// Restart starts the server again on its folder, having killed it if it runs.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.Kill()
	n.launch(t)
	n.await(t)
}

// Kill ends the process as kill -9 does, also where it is paused.
func (n *Node) Kill() {
	if n == nil || n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // fails where it has ended already
	_ = n.cmd.Wait()
	n.cmd = nil
}

// takePorts gives a node ports that were free a moment ago. Which it has for routes the
// others must know before they start, or it connects to them.
func (n *Node) takePorts(t testing.TB) {
	t.Helper()
	for _, port := range []*int{&n.Client, &n.Route} {
		l, err := net.Listen("tcp", loopback(0))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
}

// await waits until a node that was launched accepts connections. If it does not,
// another process may have taken its ports, and it gets others.
func (n *Node) await(t testing.TB) {
	t.Helper()
	const tries = 5
	for range tries {
		if bufio.NewScanner(n.out).Scan() { // it is ready
			return
		}
		n.Kill()
		n.takePorts(t)
		n.launch(t)
	}
	t.Fatalf("%s does not start", n.Name)
}

// launch starts the process.
func (n *Node) launch(t testing.TB) {
	t.Helper()
	n.Routes = nil
	for _, other := range n.all {
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
	cmd.Env = append(os.Environ(), env+"="+string(config))
	cmd.Stderr = os.Stderr
	Apart(cmd)
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
