package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// A projector reads as a projection does: it goes on with another consumer after
// every doubt, from what it kept.
type projector struct {
	*testing.T
	store *eventstore.Store
	opts  eventstore.ConsumerOptions
	named bool
	kept  []eventstore.Delivery
	made  int // consumers
	doubt []error
}

func (p *projector) after() uint64 { return uint64(len(p.kept)) }

// to reads up to a position, or ends with what is more than a doubt.
func (p *projector) to(ctx context.Context, position uint64) error {
	for p.after() < position {
		err := p.read(ctx, position)
		if err != nil && (!errors.Is(err, eventstore.ErrUnavailable) || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			p.doubt = append(p.doubt, err)
		}
	}
	return nil
}

func (p *projector) read(ctx context.Context, position uint64) error {
	name := ""
	if p.made++; p.named {
		name = p.name(p.made)
	}
	if n := len(p.kept); n > 0 {
		p.opts.Recorded = p.kept[n-1].Recorded
	}
	c, err := p.store.Consume(ctx, name, p.after(), &p.opts)
	if err != nil {
		return err
	}
	defer c.Close()
	for p.after() < position {
		d, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if d.Position != p.after()+1 {
			p.Errorf("position %d came after %d", d.Position, p.after())
		}
		p.kept = append(p.kept, d)
		c.Done(d.Position)
	}
	return nil
}

// name is of one of its consumers, from 1.
func (p *projector) name(i int) string { return fmt.Sprintf("projector-%t-%d", p.opts.Shared, i) }

// remove removes its consumers, those too that came to be after all.
func (p *projector) remove() {
	p.Helper()
	for i := 0; p.named && i < p.made; i++ {
		if err := p.store.RemoveConsumer(p.Context(), p.name(i+1)); err != nil {
			p.Errorf("remove %s: %v", p.name(i+1), err)
		}
	}
}

func (p *projector) report() {
	for _, err := range p.doubt {
		p.Log(err)
	}
}

func TestConsumeOverCuts(t *testing.T) {
	t.Parallel()
	for _, env := range sites {
		t.Run(env.name, func(t *testing.T) {
			t.Parallel()
			s := env.start(t)
			log := s.log(t, "cuts", nil)
			all := scatter(t, log, 300)
			var reading sync.WaitGroup
			for _, named := range []bool{false, true} {
				c := s.cutting(t, log.Name(), 150_000)
				reading.Go(func() {
					for c.cuts() < 3 {
						p := &projector{T: t, store: c.store, named: named}
						p.opts.Shared = named
						if err := p.to(t.Context(), 300); err != nil {
							t.Error(err)
							return
						}
						wantLogged(t, delivered(p.kept), all)
						p.remove()
						p.report()
					}
				})
			}
			reading.Wait()
		})
	}
}

// A server that comes back is the same, or one that lost commits.
func TestConsumeOverRestart(t *testing.T) {
	t.Parallel()
	r := newRevived(t)
	store := r.open(nil)
	id := stream(t)
	write := func(n int) {
		for range n {
			add(t, store, id, eventstore.Any, events("x"), nil)
		}
	}
	write(10)
	p := &projector{T: t, store: r.open(nil), named: true}
	if err := p.to(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	old := r.copied()
	write(5)
	ended := make(chan error)
	go func() { ended <- p.to(t.Context(), 20) }()
	r.stop()
	r.back(r.dir)
	write(5)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.report()

	r.stop()
	r.back(old)
	wantDamage(t, "the log is shorter", p.to(t.Context(), 30), eventstore.StreamID{}, 20)
	other := r.open(nil)
	for range 15 {
		add(t, other, eventstore.StreamID{Kind: "order", ID: "other"}, eventstore.Any, events("other"), nil)
	}
	wantDamage(t, "it went on", p.to(t.Context(), 30), eventstore.StreamID{}, 20)
}

// What the server passes over is lost, in the middle and at the end.
func TestConsumeDamaged(t *testing.T) {
	t.Parallel()
	for _, last := range []bool{false, true} {
		t.Run(fmt.Sprintf("last=%t", last), func(t *testing.T) {
			t.Parallel()
			r := newRevived(t)
			store := r.open(nil)
			for i := range 9 {
				add(t, store, eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}, eventstore.NoStream, events(fmt.Sprintf("marker-%d-", i+1)), nil)
			}
			damaged := 5
			if last {
				damaged = 9
			}
			r.stop()
			flip(t, r.dir, fmt.Sprintf("marker-%d-", damaged))
			r.back(r.dir)
			store, err := eventstore.Open(t.Context(), r.client(), "log", &eventstore.Options{AllowUnsafe: []string{"damage"}})
			if err != nil {
				t.Fatal(err)
			}
			p := &projector{T: t, store: store, named: true}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = p.to(ctx, 9)
			wantDamage(t, "a commit is lost", err, eventstore.StreamID{}, uint64(damaged))
			if n := len(p.kept); n != damaged-1 {
				t.Errorf("%d commits came before it", n)
			}
		})
	}
}

// What one node of three cannot read comes from another, in its place.
func TestConsumeFromDamagedNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := embedded.StartCluster(t.Context(), dir, 3, &embedded.Options{Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	s := site{Connector: c, replicas: 3}
	store := s.log(t, "log", nil)
	const n = 9
	for i := range n {
		add(t, store, eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i)}, eventstore.NoStream, events(fmt.Sprintf("marker-%d-", i+1)), nil)
	}
	const node = 1
	stored := filepath.Join(dir, fmt.Sprintf("node-%d", node), "jetstream", "$G", "streams", "log")
	if err := c.Stop(node); err != nil {
		t.Fatal(err)
	}
	for !holds(t, stored, fmt.Sprintf("marker-%d-", n)) { // it was behind
		if err := c.Restart(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if err := c.Stop(node); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{4, 5, n} {
		flip(t, stored, fmt.Sprintf("marker-%d-", i))
	}
	if err := c.Restart(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	there := false
	for i := 0; !there; i++ {
		if i == 100 {
			t.Fatal("no consumer is on the damaged node")
		}
		name := fmt.Sprint("reader-", i)
		reader := consume(t, store, name, 0, nil)
		all := deliveries(t, reader, 0, n)
		if got := texts(delivered(all)); got[3] != "marker-4-" || got[n-1] != fmt.Sprintf("marker-%d-", n) {
			t.Fatalf("it delivers %q", got)
		}
		there = s.consumer(t, "log", name)().Cluster.Leader == fmt.Sprintf("node-%d", node)
		reader.Done(n)
		reader.Close()
		if err := store.RemoveConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

// holds reports whether a stream's blocks in a folder have this text.
func holds(t *testing.T, dir, text string) bool {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range blocks {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

// The leaders change while it reads.
func TestConsumeOverLeaders(t *testing.T) {
	t.Parallel()
	s := threeNodes(t)
	log := s.log(t, "leaders", nil)
	nc := testutil.Connect(t, s)
	const n = 1000
	var working sync.WaitGroup
	working.Go(func() {
		for i := range n {
			id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i % 50)}
			if _, err := log.Append(t.Context(), id, eventstore.Any, events(fmt.Sprint(i)), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	all := []*projector{
		{T: t, store: s.another(t, "leaders"), named: true},
		{T: t, store: s.another(t, "leaders"), named: true, opts: eventstore.ConsumerOptions{Shared: true}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for _, p := range all {
		working.Go(func() {
			if err := p.to(ctx, n); err != nil {
				t.Error(err)
			}
		})
	}
	over := make(chan struct{})
	go func() {
		working.Wait()
		close(over)
	}()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-over:
			for _, p := range all {
				p.report()
			}
			return
		case <-tick.C:
			if i == 6 {
				tick.Stop()
			}
			if i%2 == 0 {
				stepDown(t, nc, "STREAM.LEADER.STEPDOWN.leaders")
			}
			for _, p := range all {
				for j := range 20 {
					stepDown(t, nc, "CONSUMER.LEADER.STEPDOWN.leaders."+p.name(j+1))
				}
			}
		}
	}
}

// another returns a store on a connection of its own.
func (s site) another(t *testing.T, log string) *eventstore.Store {
	t.Helper()
	return s.open(t, testutil.Connect(t, s), log, nil)
}

// stepDown asks for another leader; there may be none.
func stepDown(t *testing.T, nc *nats.Conn, api string) {
	t.Helper()
	if err := nc.Publish("$JS.API."+api, nil); err != nil {
		t.Error(err)
	}
}

// What the server does not permit is said as such.
func TestConsumeNotPermitted(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"CONSUMER.CREATE", "CONSUMER.MSG.NEXT"} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			publish := []string{"$JS.API.STREAM.>", "$JS.API.DIRECT.>", "$JS.API.CONSUMER.DELETE.>", "$JS.API.CONSUMER.INFO.>"}
			for _, api := range []string{"CONSUMER.CREATE", "CONSUMER.MSG.NEXT"} {
				if api != missing {
					publish = append(publish, "$JS.API."+api+".>")
				}
			}
			admin, user := guarded(t, publish, []string{"_INBOX.>"})
			log, err := eventstore.Open(t.Context(), admin, "guarded", nil)
			if err != nil {
				t.Fatal(err)
			}
			add(t, log, stream(t), eventstore.NoStream, events("x"), nil)
			theirs, err := eventstore.Open(t.Context(), user, "guarded", nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := theirs.Consume(t.Context(), "mine", 0, nil)
			if err == nil {
				defer c.Close()
				_, err = c.Next(t.Context())
			}
			if !errors.Is(err, eventstore.ErrDenied) || !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("without %s: %v", missing, err)
			}
		})
	}
}
