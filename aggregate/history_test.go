package aggregate_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/headwater-go/headwater/testutil"
)

// soaking says whether the long forms of tests are wanted.
var soaking = os.Getenv("HEADWATER_SOAK") != ""

// seeded returns a source of random numbers that can be had again: it says its
// seed, and takes it from HEADWATER_SEED where that is set.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HEADWATER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("HEADWATER_SEED: %v", err)
		}
	}
	t.Logf("HEADWATER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// TestSnapshotsChangeNothing lets two processes, each with snapshots and states
// in memory, and another writer change accounts at random. Repositories begin
// anew with other options and other states, snapshot files are lost, damaged
// and put back from a copy, the server restarts, and the log itself goes back to
// a copy. Whatever anybody is told must be what a plain fold says.
func TestSnapshotsChangeNothing(t *testing.T) {
	t.Parallel()
	steps := map[string]int{"on 1": 400, "on 3": 100}
	if soaking {
		steps = map[string]int{"on 1": 20_000, "on 3": 5_000}
	}
	t.Run("on 1", func(t *testing.T) {
		t.Parallel()
		h := &history{T: t, random: seeded(t), replicas: 1, dir: filepath.Join(t.TempDir(), "server")}
		t.Cleanup(func() {
			if h.server != nil {
				h.must(h.server.Close())
			}
		})
		h.start()
		h.run(steps["on 1"])
	})
	t.Run("on 3", func(t *testing.T) {
		t.Parallel()
		h := &history{T: t, random: seeded(t), replicas: 3, on: testutil.Cluster(t)}
		h.connect()
		h.run(steps["on 3"])
	})
}

// A bookkeeping is all that the test knows.
type bookkeeping struct {
	accounts map[string]account
	open     [24]string // the accounts that are used
}

// A history is one run of the test.
type history struct {
	*testing.T
	random   *rand.Rand
	replicas int
	dir      string // of the server
	server   *embedded.Server
	on       testutil.Connector

	bookkeeping
	old       *bookkeeping // when the log was copied
	writer    link         // another program
	processes [2]process
	step      int
	ids       int // given so far

	made      map[string]int
	stats     aggregate.Stats
	snapshots snapshot.Stats
}

// A link is the way to the log, which outlives the server.
type link struct{ *eventstore.Store }

// A process has repositories that keep snapshots in a file of its own.
type process struct {
	link      link
	path      string
	snapshots *snapshot.Store
	views     []view
	copied    []byte // an older state of the file
}

func (h *history) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("step %d: %v", h.step, err)
	}
}

// start starts the server on its folder.
func (h *history) start() {
	var err error
	h.server, err = embedded.Start(h.Context(), h.dir, &embedded.Options{Relaxed: true})
	h.must(err)
	h.on = h.server
	h.connect()
}

func (h *history) connect() {
	for _, l := range []*link{&h.writer, &h.processes[0].link, &h.processes[1].link} {
		var err error
		// All that was ever done is within the duplicate window.
		opts := &eventstore.Options{Replicas: h.replicas, DuplicateWindow: 24 * time.Hour}
		l.Store, err = eventstore.Open(h.Context(), testutil.Connect(h.T, h.on), "test", opts)
		h.must(err)
	}
}

func (h *history) run(steps int) {
	h.accounts, h.made = make(map[string]account), make(map[string]int)
	for i := range h.processes {
		p := &h.processes[i]
		p.path = filepath.Join(h.TempDir(), "snapshots")
		h.openSnapshots(p)
		h.Cleanup(func() { p.snapshots.Close() })
	}
	for range 3 { // that many are about to forget commands
		for id := h.pick(); len(h.accounts[id].commits) < eventstore.Remembered; {
			h.write(id, h.deposits())
		}
	}
	for h.step = range steps {
		h.next()
		h.look(h.pick())
		h.look(h.pick())
	}
	h.finish()
}

// next does one thing, and each kind of thing as often as its weight says.
func (h *history) next() {
	things := []struct {
		weight int
		name   string
		do     func(id string)
	}{
		{60, "command", func(id string) { h.execute(id, h.ask(id), h.newID()) }},
		{10, "command without an id", func(id string) { h.execute(id, h.ask(id), "") }},
		{60, "redelivery", h.redeliver},
		{6, "commands at once", h.together},
		{30, "foreign commit", func(id string) { h.write(id, h.deposits()) }},
		{4, "many foreign commits", func(id string) {
			for range 10 + h.random.IntN(70) {
				h.write(id, h.deposits())
			}
		}},
		{6, "repository made anew", func(string) { h.renew(h.process()) }},
		{12, "flush", func(string) { h.must(h.process().snapshots.Flush(h.Context())) }},
		{8, "snapshots opened again", func(string) { h.reopen(h.process()) }},
		{3, "server restarted", func(string) { h.restart() }},
	}
	n := 0
	for _, thing := range things {
		n += thing.weight
	}
	n = h.random.IntN(n)
	for _, thing := range things {
		if n -= thing.weight; n < 0 {
			h.made[thing.name]++
			thing.do(h.pick())
			return
		}
	}
}

// pick returns one of the accounts, and some much more often than others. One
// that has a long history is left alone in the end.
func (h *history) pick() string {
	const long = 300 // commits
	i := min(h.random.IntN(len(h.open)), h.random.IntN(len(h.open)), h.random.IntN(len(h.open)))
	if h.open[i] == "" || len(h.accounts[h.open[i]].commits) > long {
		h.open[i] = h.newID()
	}
	return h.open[i]
}

func (h *history) newID() string {
	h.ids++
	return fmt.Sprint(h.ids)
}

func (h *history) process() *process { return &h.processes[h.random.IntN(len(h.processes))] }

func (h *history) view() view {
	p := h.process()
	return p.views[h.random.IntN(len(p.views))]
}

func (h *history) deposits() (events []Event) {
	for range 1 + h.random.IntN(4) {
		events = append(events, h.deposit())
	}
	return events
}

func (h *history) deposit() Event {
	d := Deposited{Amount: h.random.IntN(10)}
	if h.random.IntN(4) == 0 {
		d.Note = h.newID()
	}
	return d
}

// ask returns a command that decides by the balance as it is told, which may be
// for events, for nothing, or to refuse.
func (h *history) ask(id string) *question {
	amount, deposits := 1+h.random.IntN(1+2*h.accounts[id].balance()), h.deposits()
	return &question{decide: []func(int) ([]Event, error){
		func(int) ([]Event, error) { return deposits, nil },
		func(balance int) ([]Event, error) { return Withdraw{amount}.Decide(Account{Balance: balance}) },
		func(balance int) ([]Event, error) {
			if balance <= amount {
				return nil, nil
			}
			return []Event{Withdrawn{balance - amount}}, nil
		},
	}[h.random.IntN(3)]}
}

// redeliver executes a command that was applied before. It may decide for the
// same events now, or for anything else.
func (h *history) redeliver(id string) {
	a := h.accounts[id]
	if len(a.commits) == 0 {
		return
	}
	depth := 1 + h.random.IntN(80)
	if h.random.IntN(2) == 0 {
		depth = eventstore.Remembered - 6 + h.random.IntN(8)
	}
	i := len(a.commits) - min(depth, len(a.commits))
	first := uint64(0)
	if i > 0 {
		first = a.commits[i-1].Version
	}
	again := a.events[first:a.commits[i].Version]
	q := []*question{
		{decide: func(int) ([]Event, error) { return again, nil }},
		{decide: func(int) ([]Event, error) { return nil, nil }},
		{decide: func(int) ([]Event, error) { return nil, errInsufficient }},
		h.ask(id),
	}[h.random.IntN(4)]
	h.execute(id, q, a.commits[i].CommitID)
}

// execute executes a command and checks all that there is to know of it.
func (h *history) execute(id string, q *question, commandID string) {
	v, a := h.view(), h.accounts[id]
	known, depth := a.find(commandID)
	events, refusal := q.decide(a.balance())
	state, at, err := v.execute(h.Context(), id, q, commandID)
	what := fmt.Sprintf("%T, account %s, command %q (%d commits from the end)", v, id, commandID, depth)

	// What the aggregate does not remember the log does, if it comes to that.
	remembered := depth > 0 && (depth <= eventstore.Remembered || len(events) > 0)
	if remembered || depth > 0 && err == nil && at.Replayed {
		h.made["answered again"]++
		h.must(err)
		if !at.Replayed || !same(at, known) {
			h.Fatalf("step %d: %s: the answer is %+v, and was %+v", h.step, what, at, known)
		}
		h.equal(v, state, a.events[:known.Version], what)
		return
	}
	if refusal == nil {
		h.must(err)
	}
	h.equal(v, q.asked, a.events, what+": decided on")
	switch {
	case refusal != nil:
		h.made["refused"]++
		var rejected *aggregate.RejectedError
		if !errors.As(err, &rejected) || rejected.Err != refusal || rejected.Version != a.version() {
			h.Fatalf("step %d: %s: refused with %v, want version %d", h.step, what, err, a.version())
		}
		if at != (eventstore.Revision{}) {
			h.Fatalf("step %d: %s: refused at %+v", h.step, what, at)
		}
		h.equal(v, state, nil, what+": refused with")
		return
	case len(events) == 0:
		h.made["nothing"]++
	default:
		h.made["applied"]++
		if at.Position <= a.last().Position || at.Version != a.version()+uint64(len(events)) || commandID != "" && at.CommitID != commandID {
			h.Fatalf("step %d: %s: applied at %+v, after %+v", h.step, what, at, a.last())
		}
		a = a.after(at, events)
		h.accounts[id] = a
	}
	if at.Replayed || !same(at, a.last()) {
		h.Fatalf("step %d: %s: the answer is %+v, want %+v", h.step, what, at, a.last())
	}
	h.equal(v, state, a.events, what)
}

// An answer is what one of several was told, of a command and of the past.
type answer struct {
	v           view
	events      []Event
	version     uint64
	state, past any
	at, pastAt  eventstore.Revision
	errs        [2]error
}

// together executes several commands at once, on whatever states the processes
// have, and loads besides.
func (h *history) together(id string) {
	a := h.accounts[id]
	answers := make([]answer, 2+h.random.IntN(6))
	var all sync.WaitGroup
	for i := range answers {
		r, commandID := &answers[i], h.newID()
		r.v, r.events, r.version = h.view(), h.deposits(), h.random.Uint64N(a.version()+1)
		q := &question{decide: func(int) ([]Event, error) { return r.events, nil }}
		all.Go(func() { r.state, r.at, r.errs[0] = r.v.execute(h.Context(), id, q, commandID) })
		all.Go(func() { r.past, r.pastAt, r.errs[1] = r.v.loadVersion(h.Context(), id, r.version) })
	}
	all.Wait()
	for _, r := range answers {
		h.must(errors.Join(r.errs[:]...))
		if !same(r.pastAt, a.at(r.version)) {
			h.Fatalf("step %d: account %s, version %d, is at %+v, want %+v", h.step, id, r.version, r.pastAt, a.at(r.version))
		}
		h.equal(r.v, r.past, a.events[:r.version], "account "+id+" at an earlier version")
	}
	slices.SortFunc(answers, func(r, s answer) int { return cmp.Compare(r.at.Position, s.at.Position) })
	for _, r := range answers {
		if a = a.after(r.at, r.events); r.at.Replayed || r.at.Version != a.version() {
			h.Fatalf("step %d: account %s: of several at once one is applied at %+v, want version %d", h.step, id, r.at, a.version())
		}
		h.equal(r.v, r.state, a.events, "account "+id+" of several at once")
	}
	h.accounts[id] = a
}

// write appends a commit as another program does.
func (h *history) write(id string, events []Event) {
	data := make([]eventstore.EventData, len(events))
	for i, e := range events {
		var err error
		data[i], err = codec.Encode(e)
		h.must(err)
	}
	at, err := h.writer.Append(h.Context(), eventstore.StreamID{Kind: "account", ID: id}, eventstore.Any, data, nil)
	h.must(err)
	h.accounts[id] = h.accounts[id].after(at, events)
}

// look compares what somebody sees of an account.
func (h *history) look(id string) {
	v, a := h.view(), h.accounts[id]
	want := a.version()
	what := fmt.Sprintf("%T, account %s", v, id)
	var state any
	var at eventstore.Revision
	var err error
	switch h.random.IntN(4) {
	case 0:
		state, at, err = v.load(h.Context(), id)
	case 1:
		var ok bool
		if state, at, ok = v.cached(id); !ok {
			return
		}
		want = at.Version // old, it may be
		what += fmt.Sprint(", in memory, version ", want)
	default:
		version := uint64(h.random.IntN(len(a.events) + 5))
		want = min(version, want)
		what += fmt.Sprint(", version ", version)
		state, at, err = v.loadVersion(h.Context(), id, version)
	}
	h.must(err)
	if at.Replayed || want > a.version() || !same(at, a.at(want)) {
		h.Fatalf("step %d: %s: it is at %+v, want %+v", h.step, what, at, a.at(want))
	}
	h.equal(v, state, a.events[:want], what)
}

func (h *history) equal(v view, got any, events []Event, what string) {
	h.Helper()
	if want := v.fold(events); !reflect.DeepEqual(got, want) {
		h.Fatalf("step %d: %s: got %+v\nwant %+v", h.step, what, got, want)
	}
}
