package aggregate_test

import (
	"cmp"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/snapshot"
)

// renew replaces a process's repositories, as one does that begins anew or has
// another version.
func (h *history) renew(p *process) {
	for _, v := range p.views {
		h.add(v.Stats())
	}
	policies := []snapshot.Policy{
		snapshot.Every(1 + h.random.Uint64N(20)), snapshot.Every(1), nil, snapshot.Never,
		snapshot.Costing(time.Duration(h.random.IntN(int(time.Millisecond)))),
	}
	p.views = nil
	for range 1 + h.random.IntN(2) {
		p.views = append(p.views, views[h.random.IntN(len(views))](&p.link, aggregate.Options{
			Attempts: 1000, Cache: []int{-1, 0, 1, 3}[h.random.IntN(4)], Snapshots: p.snapshots, Policy: policies[h.random.IntN(len(policies))],
		}))
	}
}

func (h *history) add(s aggregate.Stats) {
	h.stats.FromCache += s.FromCache
	h.stats.FromSnapshot += s.FromSnapshot
	h.stats.FromLog += s.FromLog
	h.stats.Conflicts += s.Conflicts
}

func (h *history) openSnapshots(p *process) {
	var err error
	p.snapshots, err = snapshot.Open(p.path, nil)
	h.must(err)
	h.renew(p)
}

// reopen closes a process's snapshots and opens what has become of them.
func (h *history) reopen(p *process) {
	h.closeSnapshots(p)
	content, err := os.ReadFile(p.path)
	h.must(err)
	switch h.random.IntN(8) {
	case 0:
		h.made["snapshots lost"]++
		h.must(os.Remove(p.path))
	case 1, 2:
		h.made["snapshots damaged"]++
		for range 1 + h.random.IntN(200) {
			content[h.random.IntN(len(content))] ^= byte(1 + h.random.IntN(255))
		}
		h.must(os.WriteFile(p.path, content, 0o600))
	case 3:
		if p.copied != nil {
			h.made["snapshots put back"]++
			h.must(os.WriteFile(p.path, p.copied, 0o600))
		}
	case 4, 5:
		p.copied = content
	}
	h.openSnapshots(p)
}

func (h *history) closeSnapshots(p *process) {
	h.must(p.snapshots.Close())
	s := p.snapshots.Stats()
	h.snapshots.Hits += s.Hits
	h.snapshots.Misses += s.Misses
	h.snapshots.OtherSchema += s.OtherSchema
	h.snapshots.Damaged += s.Damaged
	h.snapshots.Unreadable += s.Unreadable
	h.snapshots.Discarded += s.Discarded
	h.snapshots.Saved += s.Saved
	h.snapshots.Older += s.Older
	h.snapshots.Dropped += s.Dropped
	h.snapshots.Failed += s.Failed
	h.snapshots.SetAside += s.SetAside
	if s.OtherLog+s.Failed > 0 {
		h.Fatalf("step %d: %+v", h.step, s)
	}
}

// restart stops the server and starts it again, on its folder or on an older
// copy. In that case the processes begin anew too, but with the snapshots that
// they have: they are of a future that will not be.
func (h *history) restart() {
	if h.server == nil {
		return
	}
	h.must(h.server.Close())
	copied := h.dir + ".copied"
	if h.old != nil && h.random.IntN(3) > 0 {
		h.made["log put back"]++
		h.must(os.RemoveAll(h.dir))
		h.must(os.Rename(copied, h.dir))
		lost := h.accounts
		h.bookkeeping, h.old = *h.old, nil
		for i := range h.processes {
			h.renew(&h.processes[i])
		}
		h.start()
		h.instead(lost)
		return
	}
	if h.old == nil {
		h.must(os.CopyFS(copied, os.DirFS(h.dir)))
		h.old = &bookkeeping{maps.Clone(h.accounts), h.open}
	}
	h.start()
}

// instead writes other events where some were lost, at the same positions and
// versions, up to one of them.
func (h *history) instead(lost map[string]account) {
	type place struct {
		id     string
		at     eventstore.Revision
		events uint64
	}
	var places []place
	for id, a := range lost {
		version := h.accounts[id].version()
		for _, c := range a.commits[len(h.accounts[id].commits):] {
			places = append(places, place{id, c, c.Version - version})
			version = c.Version
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.at.Position, b.at.Position) })
	for _, p := range places[:h.random.IntN(len(places)+1)] {
		var events []Event
		for range p.events {
			events = append(events, h.deposit())
		}
		h.write(p.id, events)
		if at := h.accounts[p.id].last(); at.Position != p.at.Position || at.Version != p.at.Version {
			h.Fatalf("step %d: account %s is at %+v, want the place of %+v", h.step, p.id, at, p.at)
		}
		h.look(p.id)
	}
}

// finish compares everything with the log itself.
func (h *history) finish() {
	report, err := h.writer.Verify(h.Context(), nil)
	h.must(err)
	for _, damage := range report.Damage {
		h.Error(damage)
	}
	commits := 0
	for id, a := range h.accounts {
		commits += len(a.commits)
		h.compare(id, a)
	}
	for i := range h.processes {
		h.renew(&h.processes[i])
		h.closeSnapshots(&h.processes[i])
	}
	h.Logf("%d accounts, %d commits; %v; states %+v; snapshots %+v", len(h.accounts), commits, h.made, h.stats, h.snapshots)
	if h.stats.FromSnapshot == 0 || h.stats.FromCache == 0 || h.stats.FromLog == 0 {
		h.Error("states came from one place only")
	}
}

// compare compares what everybody sees of an account with its events.
func (h *history) compare(id string, a account) {
	var events []Event
	for e, err := range h.writer.Read(h.Context(), eventstore.StreamID{Kind: "account", ID: id}, nil) {
		h.must(err)
		event, err := codec.Decode(e)
		h.must(err)
		events = append(events, event)
		if !same(e.Revision(), a.at(e.Version)) {
			h.Fatalf("account %s, event %d: the log has it at %+v, and the writer was told %+v", id, e.Version, e.Revision(), a.at(e.Version))
		}
	}
	if !reflect.DeepEqual(events, a.events) {
		h.Fatalf("account %s has %v\nwant %v", id, events, a.events)
	}
	for _, p := range h.processes {
		for _, v := range p.views {
			state, at, err := v.load(h.Context(), id)
			h.must(err)
			if !same(at, a.last()) {
				h.Fatalf("account %s is at %+v, want %+v", id, at, a.last())
			}
			h.equal(v, state, events, "account "+id)
		}
	}
}
