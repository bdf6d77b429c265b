package natsnode

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Disturb makes a fault at random, and undoes it after a while: a node is killed, or
// paused, or the one that leads a stream is paused until another one leads it, and then
// answers from the past until it has heard of that.
func Disturb(t testing.TB, rng *rand.Rand, nodes []*Node, stream string) {
	t.Helper()
	n := nodes[rng.IntN(len(nodes))]
	switch rng.IntN(3) {
	case 0:
		n.Kill()
		Wait(rng, time.Second)
		n.Restart(t)
	case 1:
		n.Pause(t)
		Wait(rng, 2*time.Second)
		n.Resume(t)
	case 2:
		Depose(t, nodes, stream)
	}
	Wait(rng, time.Second)
}

// Depose pauses the node that leads a stream until another one does, and returns it.
func Depose(t testing.TB, nodes []*Node, stream string) *Node {
	t.Helper()
	n := Leader(t, nodes, stream, nil)
	n.Pause(t)
	Leader(t, nodes, stream, n)
	n.Resume(t)
	return n
}

// Wait waits for a part of a time, chosen at random.
func Wait(rng *rand.Rand, limit time.Duration) {
	<-time.After(limit/4 + time.Duration(rng.Int64N(int64(limit*3/4))))
}

// Leader waits until another node than one leads a stream, and returns it.
func Leader(t testing.TB, nodes []*Node, stream string, without *Node) *Node {
	t.Helper()
	late := time.Now().Add(2 * patience)
	for i := 0; time.Now().Before(late); i++ {
		asked := nodes[i%len(nodes)]
		if asked == without {
			continue
		}
		name := asked.leaderOf(stream)
		at := slices.IndexFunc(nodes, func(n *Node) bool { return n.Name == name })
		if at >= 0 && nodes[at] != without {
			return nodes[at]
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("nobody leads %s", stream)
	return nil
}

// leaderOf asks a node which one leads a stream. It returns "" where that is not known.
func (n *Node) leaderOf(stream string) string {
	nc, err := nats.Connect(n.URL(), nats.Timeout(time.Second), nats.NoReconnect())
	if err != nil {
		return ""
	}
	defer nc.Close()
	m, err := nc.Request("$JS.API.STREAM.INFO."+stream, nil, time.Second)
	if err != nil {
		return ""
	}
	var info jetstream.StreamInfo
	if err := json.Unmarshal(m.Data, &info); err != nil || info.Cluster == nil {
		return ""
	}
	return info.Cluster.Leader
}

// Connect returns a connection to any of the nodes, which finds out soon when one does
// not answer. It ends with the test.
func Connect(t testing.TB, nodes []*Node) *nats.Conn {
	t.Helper()
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = n.URL()
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Timeout(time.Second),
		nats.PingInterval(500*time.Millisecond), nats.MaxPingsOutstanding(2), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
