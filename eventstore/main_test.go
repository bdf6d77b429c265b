package eventstore_test

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(nodeEnv); config != "" {
		runNode(config)
	}
	// Tests wait for servers more than they compute. The command line, which is
	// parsed later, may say otherwise.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// A site is where an item of the conformance suite runs: servers, and on them
// one log that the items share. Each item has streams of its own there, and a
// log of its own where it looks at more than streams or needs other settings.
type site struct {
	testutil.Connector
	urls     []string // the nodes' addresses, for clients that come by network
	replicas int
	shared   *eventstore.Store
}

// sites are the environments that everything must work in.
var sites = []struct {
	name  string
	start func(*testing.T) site
}{
	{"one node", oneNode},
	{"three nodes", threeNodes},
}

func oneNode(t *testing.T) site {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	return site{Connector: s, urls: []string{s.URL()}, replicas: 1}
}

func threeNodes(t *testing.T) site {
	c := testutil.Cluster(t)
	s := site{Connector: c, replicas: 3}
	for i := range 3 {
		s.urls = append(s.urls, c.Node(i).URL())
	}
	return s
}

// start starts a server that ends with the test, on a folder that is kept.
func start(t *testing.T, dir, listen string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), dir, &embedded.Options{Relaxed: true, Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// An item is one requirement on an event store, by its number in the list that
// the suite follows.
type item struct {
	name string
	run  func(*testing.T, site)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	items := slices.Concat(suiteItems, openItems, eventItems, concurrencyItems, repetitionItems, limitItems,
		interruptionItems, cutItems, revisionItems, logItems, streamsItems, cloudEventItems, hostileItems, hookItems, liveItems)
	for _, env := range sites {
		t.Run(env.name, func(t *testing.T) {
			t.Parallel()
			s := env.start(t)
			// Opened here, it is verified when all items are done.
			s.shared = testutil.Open(t, s, &eventstore.Options{Replicas: s.replicas})
			for _, item := range items {
				t.Run(item.name, func(t *testing.T) {
					t.Parallel()
					item.run(t, s)
				})
			}
		})
	}
}
