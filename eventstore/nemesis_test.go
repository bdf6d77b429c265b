package eventstore_test

import (
	"encoding/json"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/internal/natsnode"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A nemesis makes faults, one after another.
type nemesis struct {
	*testing.T
	nodes   []*natsnode.Node
	proxies []*proxy // one for each node
	log     string
	random  *rand.Rand
	made    map[string]int // faults so far, by kind
	run     *linearRun
	readers [][]*writer // connected to each node alone
	doubts  []doubt
}

// A doubt is a time in which a leader that was deposed may not have known it,
// and answered reads.
type doubt struct{ begin, end int64 }

// A fault is made, lasts for a while, and is undone before it returns.
type fault struct {
	kind string
	make func(*nemesis)
}

// The faults that every log meets, and those that take several nodes.
var (
	singleFaults = []fault{
		{"connections cut at random", (*nemesis).cutAtRandom},
		{"requests held back", func(n *nemesis) { n.holdBack(toServer) }},
		{"answers held back", func(n *nemesis) { n.holdBack(toClient) }},
		{"node paused", func(n *nemesis) { n.pauseNode(n.any()) }},
		{"node killed", func(n *nemesis) { n.killNode(n.any()) }},
	}
	clusterFaults = []fault{
		{"connections cut at random", (*nemesis).cutAtRandom},
		{"requests held back", func(n *nemesis) { n.holdBack(toServer) }},
		{"answers held back", func(n *nemesis) { n.holdBack(toClient) }},
		{"leader stepped down", (*nemesis).stepDown},
		{"leader paused until another is elected", (*nemesis).deposeLeader},
		{"leader killed", func(n *nemesis) { n.killNode(n.leader()) }},
		{"follower paused", func(n *nemesis) { n.pauseNode(n.follower()) }},
		{"follower killed", func(n *nemesis) { n.killNode(n.follower()) }},
	}
)

func (n *nemesis) any() int { return n.random.IntN(len(n.nodes)) }

func (n *nemesis) follower() int {
	return (n.leader() + 1 + n.random.IntN(len(n.nodes)-1)) % len(n.nodes)
}

// forUpTo waits for a part of a time, chosen at random.
func (n *nemesis) forUpTo(limit time.Duration) {
	timer := time.NewTimer(limit/4 + rand.N(limit*3/4))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.Context().Done():
	}
}

func (n *nemesis) cutAtRandom() {
	for _, p := range n.proxies {
		p.cutAppends(n.log)
	}
	n.forUpTo(time.Second)
	for _, p := range n.proxies {
		p.stopCutting()
	}
}

// holdBack lets a part of the clients wait, and then loses what they said or
// were told, or delivers it late.
func (n *nemesis) holdBack(d direction) {
	p := n.proxies[n.any()]
	p.hold(d)
	n.forUpTo(2 * time.Second)
	if n.random.IntN(2) == 0 {
		p.lose()
	} else {
		p.release()
	}
}

func (n *nemesis) pauseNode(i int) {
	n.nodes[i].Pause(n.T)
	n.forUpTo(3 * time.Second)
	n.nodes[i].Resume(n.T)
}

// deposeLeader pauses the leader until the others have elected another one.
// When it goes on it does not know, and answers what its clients have asked
// meanwhile.
func (n *nemesis) deposeLeader() {
	i := n.leader()
	n.nodes[i].Pause(n.T)
	n.eventually("another leader is elected", func() bool {
		now, ok := n.leaderSeen(i)
		return ok && now != i
	})
	n.forUpTo(time.Second)
	var asking sync.WaitGroup
	defer asking.Wait()
	for _, r := range n.readers[i] {
		asking.Go(func() { r.look(n.run.pick(r.random)) })
	}
	n.forUpTo(200 * time.Millisecond)
	begin := n.run.clock()
	n.nodes[i].Resume(n.T)
	n.settled()
	n.doubts = append(n.doubts, doubt{begin, n.run.clock() + int64(time.Second)})
}

func (n *nemesis) killNode(i int) {
	n.nodes[i].Kill()
	n.forUpTo(time.Second)
	n.nodes[i].Restart(n.T)
	n.proxies[i].redirect(n.nodes[i].URL())
}

func (n *nemesis) stepDown() {
	n.eventually("the leader steps down", func() bool {
		var answer struct{ Success bool }
		return n.ask(-1, func(nc *nats.Conn) error {
			m, err := nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+n.log, nil, 2*time.Second)
			if err != nil {
				return err
			}
			return json.Unmarshal(m.Data, &answer)
		}) && answer.Success
	})
}

// leader returns the log's leader, when it has one.
func (n *nemesis) leader() (i int) {
	n.eventually("there is a leader", func() (ok bool) {
		i, ok = n.leaderSeen(-1)
		return ok
	})
	return i
}

// leaderSeen returns the leader that a node knows of, other than the one
// named.
func (n *nemesis) leaderSeen(without int) (leader int, ok bool) {
	info := n.info(without)
	if info == nil || info.Cluster == nil {
		return 0, false
	}
	for i, node := range n.nodes {
		if node.Name == info.Cluster.Leader {
			return i, true
		}
	}
	return 0, false
}

// settled waits until the log has a leader, and all replicas what it has.
func (n *nemesis) settled() {
	n.eventually("all replicas are current", func() bool {
		info := n.info(-1)
		if info == nil || len(n.nodes) > 1 && (info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) < len(n.nodes)-1) {
			return false
		}
		if info.Cluster != nil {
			for _, peer := range info.Cluster.Replicas {
				if !peer.Current || peer.Offline {
					return false
				}
			}
		}
		return true
	})
}

// info asks a node other than the one named about the log, nil where there is
// no answer.
func (n *nemesis) info(without int) (info *jetstream.StreamInfo) {
	n.ask(without, func(nc *nats.Conn) error {
		m, err := nc.Request("$JS.API.STREAM.INFO."+n.log, nil, time.Second)
		if err != nil {
			return err
		}
		var answer struct {
			Error *jetstream.APIError
			jetstream.StreamInfo
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return answer.Error
		}
		info = &answer.StreamInfo
		return nil
	})
	return info
}

// ask asks one of the nodes, other than the one named, on a connection of its
// own.
func (n *nemesis) ask(without int, question func(*nats.Conn) error) bool {
	i := rand.IntN(len(n.nodes))
	if i == without {
		return false
	}
	nc, err := nats.Connect(n.nodes[i].URL(), nats.Timeout(time.Second), nats.NoReconnect())
	if err != nil {
		return false
	}
	defer nc.Close()
	return question(nc) == nil
}

// eventually waits longer than the function of that name: a cluster under
// faults takes its time.
func (n *nemesis) eventually(what string, holds func() bool) {
	n.Helper()
	deadline := time.After(4 * patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			n.Fatalf("gave up waiting until %s", what)
		}
	}
}

// plan returns so many rounds of all faults, each in another order.
func plan(faults []fault, rounds int, random *rand.Rand) (all []fault) {
	for range rounds {
		for _, i := range random.Perm(len(faults)) {
			all = append(all, faults[i])
		}
	}
	return all
}
