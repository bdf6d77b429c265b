package embedded_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
)

func TestClusterSurvivesItsNodes(t *testing.T) {
	t.Parallel()
	c := openCluster(t, t.TempDir())
	js := connectCluster(t, c)
	createLog(t, js, 3)
	publish(t, js, 1, 10)

	url := c.Node(0).URL()
	stop(t, c, 0)
	if _, err := c.Node(0).Connect(); !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("connecting to a stopped node: %v", err)
	}
	publish(t, js, 11, 20) // to the two others
	restart(t, c, 0)
	if got := c.Node(0).URL(); got != url {
		t.Errorf("the node was at %s and is at %s", url, got)
	}
	stop(t, c, 1)
	publish(t, js, 21, 30) // the restarted one is needed for that
	requireMessages(t, connect(t, c.Node(0)), 30)

	stop(t, c, 2)
	restart(t, c, 1) // it has no majority to wait for
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Restart(t.Context(), 0); !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("Restart after Close: %v", err)
	}
	if _, err := c.Connect(); !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("Connect after Close: %v", err)
	}
}

func TestClusterOpensItsFolderAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := openCluster(t, dir)
	js := connectCluster(t, c)
	createLog(t, js, 3)
	publish(t, js, 1, 10)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	requireMessages(t, connectCluster(t, openCluster(t, dir)), 10)
}

// Another process can take a node's port while the node is stopped.
func TestClusterNodeChangesItsPort(t *testing.T) {
	t.Parallel()
	c := openCluster(t, t.TempDir())
	js := connectCluster(t, c)
	createLog(t, js, 3)
	publish(t, js, 1, 5)

	url := c.Node(2).URL()
	stop(t, c, 2)
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	restart(t, c, 2) // which waits until the others have found it
	if c.Node(2).URL() == url {
		t.Errorf("the node is on a taken port: %s", url)
	}
	requireMessages(t, connect(t, c.Node(2)), 5)
}

func TestStartClusterFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nodes int
		opts  *embedded.Options
		text  string
	}{
		{2, nil, "3 or 5"},
		{3, &embedded.Options{Listen: ":0"}, "Listen"},
		{3, &embedded.Options{MaxStore: -1}, "MaxStore"},
	} {
		t.Run(fmt.Sprint(tt.nodes, tt.text), func(t *testing.T) {
			t.Parallel()
			_, err := embedded.StartCluster(t.Context(), t.TempDir(), tt.nodes, tt.opts)
			if se := new(embedded.StartError); !errors.As(err, &se) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClusterFolderIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir+"/node-1", nil)
	_, err := embedded.StartCluster(t.Context(), dir, 3, nil)
	if !errors.Is(err, embedded.ErrLocked) {
		t.Fatalf("got %v", err)
	}
	eventually(t, func() error { // it may have been broken off in its recovery
		other, err := embedded.Start(t.Context(), dir+"/node-0", nil)
		if err == nil {
			err = other.Close()
		}
		return err
	})
}

func stop(t *testing.T, c *embedded.Cluster, i int) {
	t.Helper()
	if err := c.Stop(i); err != nil {
		t.Fatal(err)
	}
}

func restart(t *testing.T, c *embedded.Cluster, i int) {
	t.Helper()
	if err := c.Restart(t.Context(), i); err != nil {
		t.Fatal(err)
	}
}

func openCluster(t *testing.T, dir string) *embedded.Cluster {
	t.Helper()
	c, err := embedded.StartCluster(t.Context(), dir, 3, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func connectCluster(t *testing.T, c *embedded.Cluster) jetstream.JetStream {
	t.Helper()
	nc, err := c.Connect(nats.Name("test"))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
