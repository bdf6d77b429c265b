package projection_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Test63Chronicle lets several processes project a log to a database that they share,
// while everything happens to them at random: handlers fail, panic, are slow, and do
// not like some events; processes end, die, are halted and go on when another one has
// taken over, and begin anew with another number of workers; read models are built
// anew, and shown again; what is parked is tried again, or discarded; the server
// restarts. What the database held at any moment is checked, see [bookkeeper].
func Test63Chronicle(t *testing.T) {
	t.Parallel()
	steps, rounds := 160, 1
	if soaking {
		steps, rounds = 750, 7 // a long log takes long to rebuild
	}
	for _, poison := range []projection.Poison{projection.Stop, projection.Park} {
		t.Run(fmt.Sprint(poison), func(t *testing.T) {
			t.Parallel()
			for range rounds {
				t.Run("", func(t *testing.T) {
					h := &chronicle{bookkeeper: newBookkeeper(t), random: seeded(t), poison: poison, shelf: newShelf(), made: map[string]int{}, mended: map[string]bool{}}
					h.chance = rand.New(rand.NewPCG(h.random.Uint64(), 0))
					h.run(steps)
				})
			}
		})
	}
}

// A chronicle is one run of the test.
type chronicle struct {
	*bookkeeper
	random *rand.Rand
	poison projection.Poison
	shelf  *shelf
	dir    string
	server *embedded.Server
	nc     *nats.Conn
	clerks []*clerk
	step   int
	made   map[string]int
	length map[eventstore.StreamID]int // events with handlers

	mu     sync.Mutex
	chance *rand.Rand      // of handlers
	liked  bool            // handlers like everything
	mended map[string]bool // what they like since they stopped there

	rebuilding *clerk // who rebuilds, if anybody does
	broken     context.CancelFunc
	rebuilt    chan struct{}
}

// A clerk is a process that projects.
type clerk struct {
	name    string
	desk    *desk
	nc      *nats.Conn
	p       *projection.Projection[*sheet]
	workers int
	stop    context.CancelFunc
	done    chan struct{}
	halted  bool
}

func (h *chronicle) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("step %d: %v", h.step, err)
	}
}

func (h *chronicle) run(steps int) {
	h.dir, h.length = filepath.Join(h.TempDir(), "server"), map[eventstore.StreamID]int{}
	h.startServer("127.0.0.1:0")
	h.nc, h.store = h.connect()
	h.Cleanup(func() {
		h.endRebuild()
		for len(h.clerks) > 0 {
			h.end(h.clerks[0])
		}
		h.nc.Close()
		h.must(h.server.Close())
	})
	for range 3 {
		h.begin()
	}
	for h.step = range steps {
		h.next()
		if h.step%4 == 0 {
			h.follow(h.shelf.taken())
		}
		if h.step%40 == 39 {
			h.quiet()
		}
		if h.Failed() {
			h.FailNow()
		}
	}
	h.finish()
}

func (h *chronicle) startServer(listen string) {
	var err error
	h.server, err = embedded.Start(h.Context(), h.dir, &embedded.Options{Relaxed: true, Listen: listen})
	h.must(err)
}

func (h *chronicle) connect() (*nats.Conn, *eventstore.Store) {
	nc, err := nats.Connect(h.server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	h.must(err)
	store, err := eventstore.Open(h.Context(), nc, "test", nil)
	h.must(err)
	return nc, store
}

// next does one thing, and each kind of thing as often as its weight says.
func (h *chronicle) next() {
	things := []struct {
		weight int
		name   string
		do     func()
	}{
		{600, "commits", h.write},
		{40, "process ended", func() { h.end(h.clerk()); h.begin() }},
		{40, "process died", func() { h.die(h.clerk()); h.begin() }},
		{60, "takeover", h.takeover},
		{40, "process halted", func() { h.halt(h.clerk()) }},
		{40, "process resumed", func() { h.resume(h.clerks[h.random.IntN(len(h.clerks))]) }},
		{40, "retry", func() { h.byHand("retry", (*projection.Projection[*sheet]).Retry) }},
		{30, "discard", func() { h.byHand("discard", (*projection.Projection[*sheet]).Discard) }},
		{20, "stream rebuilt", h.rebuildStream},
		{60, "rebuild", h.rebuild},
		{20, "rebuild broken off", h.endRebuild},
		{15, "generation shown", h.show},
		{15, "generation removed", h.remove},
		{20, "handlers mended", func() { h.like(h.random.IntN(2) == 0) }},
		{6, "server restarted", h.restart},
	}
	n := 0
	for _, thing := range things {
		n += thing.weight
	}
	n = h.random.IntN(n)
	for _, thing := range things {
		if n -= thing.weight; n < 0 {
			h.count(thing.name)
			thing.do()
			return
		}
	}
}

func (h *chronicle) count(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.made[what]++
}

// write appends some commits.
func (h *chronicle) write() {
	for range 1 + h.random.IntN(8) {
		stream := eventstore.StreamID{Kind: []string{"account", "account", "till", "other"}[h.random.IntN(4)], ID: fmt.Sprint(min(h.random.IntN(12), h.random.IntN(12)))}
		var data []eventstore.EventData
		for range 1 + h.random.IntN(4) {
			if h.random.IntN(6) == 0 || stream.Kind == "other" {
				data = append(data, encoded(h.T, noted{"nobody handles it"}))
				continue
			}
			h.length[stream]++
			data = append(data, encoded(h.T, deposited{h.length[stream]}))
		}
		opts := &eventstore.AppendOptions{CommitID: fmt.Sprint(h.random.Uint64())}
		for { // the server may just have been restarted
			_, err := h.store.Append(h.Context(), stream, eventstore.Any, data, opts)
			if !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrUnknownOutcome) {
				h.must(err)
				break
			}
		}
	}
}

// clerk returns one that is not halted.
func (h *chronicle) clerk() *clerk {
	for {
		if c := h.clerks[h.random.IntN(len(h.clerks))]; !c.halted {
			return c
		}
	}
}

// begin begins a process.
func (h *chronicle) begin() {
	c := &clerk{name: fmt.Sprint("process ", h.random.IntN(10_000)), desk: &desk{shelf: h.shelf}, workers: 1 + h.random.IntN(16), done: make(chan struct{})}
	var store *eventstore.Store
	c.nc, store = h.connect()
	handler := projection.On(func(ctx context.Context, s *sheet, e deposited, at projection.Event) error {
		return h.handle(c, ctx, s, e, at)
	})
	forget := projection.Forget(func(_ context.Context, s *sheet, stream eventstore.StreamID) error {
		s.enter(stream, 0, 0, true)
		return nil
	})
	c.p = newProjection(h.T, "chronicle", store, c.desk,
		append(projection.From("account", codec, handler, forget), projection.From("till", codec, handler, forget)...),
		&projection.Options{Workers: c.workers, Batch: 1 + h.random.IntN(20), Attempts: 2, Poison: h.poison, Drain: time.Duration(h.random.IntN(20)) * time.Millisecond})
	ctx, stop := context.WithCancel(context.WithValue(context.Background(), byKey{}, c.name))
	c.stop = stop
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			if err := c.p.Run(ctx); err != nil && !h.mend(err) {
				h.Errorf("%s ended: %v", c.name, err)
				return
			}
		}
	}()
	h.clerks = append(h.clerks, c)
}

// mend mends handlers where a projection has stopped.
func (h *chronicle) mend(err error) bool {
	var stopped *projection.StoppedError
	if !errors.As(err, &stopped) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mended[fmt.Sprint(stopped.Stream, stopped.Position)] = true
	return true
}

var (
	errUnlucky = errors.New("it did not work this time")
	errNever   = errors.New("it does not work")
)

// handle is the handler, which may do anything.
func (h *chronicle) handle(c *clerk, ctx context.Context, s *sheet, e deposited, at projection.Event) error {
	if err := c.desk.gate.pass(); err != nil {
		return &projection.Transient{Err: err}
	}
	h.mu.Lock()
	n, slow := h.chance.IntN(1000), time.Duration(h.chance.IntN(int(3*time.Millisecond)))
	likes := h.liked || h.mended[fmt.Sprint(at.Stream, at.Position)]
	h.mu.Unlock()
	if n < 5 {
		return errUnlucky
	}
	s.enter(at.Stream, at.Position, e.Amount, at.Replaying)
	switch {
	case n < 10:
		return errUnlucky
	case n < 15:
		return &projection.Transient{Err: errUnlucky}
	case n < 18:
		panic(errUnlucky)
	case n < 40:
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	case !likes && poisonous(at):
		return errNever
	}
	return nil
}

// poisonous reports whether an event is one that handlers do not like.
func poisonous(at projection.Event) bool {
	f := fnv.New32a()
	fmt.Fprint(f, at.Stream, at.Version)
	return f.Sum32()%61 == 0
}

func (h *chronicle) like(everything bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.liked = everything
}

// end ends a process as it should, and die as it should not.
func (h *chronicle) end(c *clerk) {
	if h.rebuilding == c {
		h.endRebuild()
	}
	before, held := h.holder(), c.p.Status().State != projection.Standby
	c.stop()
	c.desk.gate.resume()
	<-c.done
	c.nc.Close()
	if held && before != "" && h.random.IntN(20) > 0 { // the server would find out within seconds
		h.must(h.store.RemoveConsumer(h.Context(), before))
	}
	for i := range h.clerks {
		if h.clerks[i] == c {
			h.clerks = append(h.clerks[:i:i], h.clerks[i+1:]...)
			break
		}
	}
}

func (h *chronicle) die(c *clerk) {
	c.desk.gate.kill()
	h.end(c)
}

func (h *chronicle) halt(c *clerk) {
	running := 0
	for _, other := range h.clerks {
		if !other.halted {
			running++
		}
	}
	if running > 1 {
		c.halted = true
		c.desk.gate.halt()
	}
}

func (h *chronicle) resume(c *clerk) {
	c.halted = false
	c.desk.gate.resume()
}

func (h *chronicle) holder() string {
	var m masterRecord
	if raw := h.shelf.record("projection"); raw != nil {
		h.must(json.Unmarshal(raw, &m))
	}
	return m.Consumer
}

// takeover lets another process take over while the one that projects is halted, and
// then go on.
func (h *chronicle) takeover() {
	var c *clerk
	for _, one := range h.clerks {
		if s := one.p.Status(); !one.halted && s.State != projection.Standby && s.State != projection.Stopped {
			c = one
		}
	}
	if c == nil {
		return
	}
	if h.halt(c); !c.halted {
		return
	}
	h.write()
	if h.random.IntN(2) == 0 { // another number of workers
		var others []*clerk
		for _, o := range h.clerks {
			if !o.halted {
				others = append(others, o)
			}
		}
		h.end(others[h.random.IntN(len(others))])
		h.begin()
	}
	before := h.holder()
	if before != "" {
		eventually(h.T, "another process takes over", func() bool {
			h.must(h.store.RemoveConsumer(h.Context(), before)) // it may just be about to be made
			return h.holder() != before || h.Failed()
		})
		h.count("taken over")
	}
	h.write()
	if h.random.IntN(2) == 0 {
		h.resume(c)
	}
}

// byHand does something with a stream that is parked.
func (h *chronicle) byHand(what string, do func(*projection.Projection[*sheet], context.Context, eventstore.StreamID) error) {
	h.follow(h.shelf.taken())
	all := h.waits()
	if len(all) == 0 {
		return
	}
	stream := all[h.random.IntN(len(all))]
	err := do(h.clerk().p, context.WithValue(h.Context(), byKey{}, what), stream)
	switch {
	case err == nil:
		h.count(what + " done")
	case errors.Is(err, projection.ErrParked) || errors.Is(err, projection.ErrNotParked) || h.passing(err):
	default:
		h.Errorf("step %d: %s of %s: %v", h.step, what, stream, err)
	}
}

// passing reports whether an error is one that may happen to anybody.
func (h *chronicle) passing(err error) bool {
	return errors.Is(err, errSerialization) || errors.Is(err, errUnlucky) || errors.Is(err, errNever) || errors.Is(err, eventstore.ErrUnavailable)
}

func (h *chronicle) rebuildStream() {
	stream := eventstore.StreamID{Kind: "account", ID: fmt.Sprint(h.random.IntN(12))}
	ctx := context.WithValue(h.Context(), byKey{}, "stream")
	err := h.clerk().p.RebuildStream(ctx, stream)
	if err != nil && !h.passing(err) && !errors.Is(err, eventstore.ErrInvalid) {
		h.Errorf("step %d: stream %s: %v", h.step, stream, err)
	}
}

// rebuild begins a rebuild, if there is none.
func (h *chronicle) rebuild() {
	if h.rebuilding != nil {
		select {
		case <-h.rebuilt:
			h.endRebuild()
		default:
			return
		}
	}
	opts := &projection.RebuildOptions{Keep: h.random.IntN(3) == 0, Restart: h.random.IntN(5) == 0, DryRun: h.random.IntN(8) == 0}
	if h.random.IntN(6) == 0 && h.read > 0 && !opts.DryRun {
		opts.To = 1 + h.random.Uint64N(h.read)
	}
	c := h.clerk()
	by := "rebuild"
	if opts.DryRun || opts.To > 0 {
		by = "rebuild that is not shown"
	}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), byKey{}, by))
	h.rebuilding, h.broken, h.rebuilt = c, cancel, make(chan struct{})
	go func() {
		defer close(h.rebuilt)
		for {
			done, err := c.p.Rebuild(ctx, opts)
			switch {
			case err == nil:
				h.count(fmt.Sprintf("rebuilt, dry run %t, to %t", opts.DryRun, opts.To > 0))
				return
			case ctx.Err() != nil:
				return
			case h.mend(err):
			default:
				h.Errorf("rebuild %+v by %s: %+v, %v", opts, c.name, done, err)
				return
			}
		}
	}()
}

// endRebuild breaks a rebuild off, and waits for its end.
func (h *chronicle) endRebuild() {
	if h.rebuilding == nil {
		return
	}
	h.broken()
	if h.rebuilding.halted {
		h.resume(h.rebuilding)
	}
	<-h.rebuilt
	h.rebuilding = nil
}

// kept returns a generation that is kept.
func (h *chronicle) kept() (uint64, bool) {
	all, err := h.clerk().p.Generations(h.Context())
	h.must(err)
	h.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, g := range all {
		if !g.Live && !g.Building {
			return g.Number, true
		}
	}
	return 0, false
}

func (h *chronicle) show() {
	if g, ok := h.kept(); ok {
		err := h.clerk().p.Show(context.WithValue(h.Context(), byKey{}, "show"), g)
		h.odd("show", err)
	}
}

func (h *chronicle) remove() {
	if g, ok := h.kept(); ok {
		h.odd("remove", h.clerk().p.Remove(h.Context(), g))
	}
}

// odd is for errors of what is done at the same moment as something else.
func (h *chronicle) odd(what string, err error) {
	if err != nil && !h.passing(err) && !errors.Is(err, projection.ErrNoGeneration) && !strings.Contains(err.Error(), "moved by somebody else") && !errors.Is(err, eventstore.ErrInvalid) {
		h.Errorf("step %d: %s: %v", h.step, what, err)
	}
}

func (h *chronicle) restart() {
	listen := strings.TrimPrefix(h.server.URL(), "nats://")
	h.must(h.server.Close())
	h.startServer(listen)
}

// quiet waits until everything is handled, or parked.
func (h *chronicle) quiet() {
	for _, c := range h.clerks {
		h.resume(c)
	}
	if h.rebuilding != nil {
		select {
		case <-h.rebuilt:
		case <-time.After(patience):
			h.Errorf("step %d: the rebuild does not end", h.step)
		}
		h.endRebuild()
	}
	last := end(h.T, h.store)
	eventually(h.T, fmt.Sprintf("step %d: everything is handled", h.step), func() bool {
		h.follow(h.shelf.taken())
		return h.Failed() || h.live != 0 && lowestOf(h.checkpoints(h.live)) == last
	})
}

// finish handles what is parked, and compares the read model with the log.
func (h *chronicle) finish() {
	h.like(true)
	h.quiet()
	for {
		all := h.waits()
		if len(all) == 0 {
			break
		}
		for _, stream := range all {
			err := h.clerk().p.Retry(context.WithValue(h.Context(), byKey{}, "retry"), stream)
			if err != nil && !errors.Is(err, projection.ErrParked) && !errors.Is(err, projection.ErrNotParked) && !h.passing(err) {
				h.Fatal(err)
			}
		}
		h.quiet()
	}
	events, left := 0, 0
	for stream, commits := range h.streams {
		if stream.Kind == "other" {
			continue
		}
		a, last := h.tally(h.live, stream), commits[len(commits)-1]
		if h.balance(posting{by: "the end"}, h.live, nil); a.next < len(commits) {
			h.Errorf("%s: %d of %d commits are handled", stream, a.next, len(commits))
		}
		events, left = events+last.last, left+len(a.left)
	}
	for len(h.clerks) > 0 {
		h.end(h.clerks[0])
	}
	h.follow(h.shelf.taken())
	h.Logf("%d events, %d of them discarded, in %d transactions; %v", events, left, h.postings, h.made)
	h.Logf("side effects: %v", h.found)
	h.consumers()
}

// consumers checks that nothing is left on the server but what the next process that
// projects will remove.
func (h *chronicle) consumers() {
	js, err := jetstream.New(h.nc)
	h.must(err)
	log, err := js.Stream(h.Context(), "test")
	h.must(err)
	master := string(h.shelf.record("projection"))
	for name := range log.ConsumerNames(h.Context()).Name() {
		if strings.HasPrefix(name, "chronicle-") && !strings.Contains(master, name) {
			h.Errorf("consumer %s is left on the server, and nobody knows: %s", name, master)
		}
	}
}
