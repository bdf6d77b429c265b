package eventstore_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// republished appends events to streams, one after another, and returns what the
// server published then.
func (s site) republished(t *testing.T, nc *nats.Conn, log *eventstore.Store, ids ...eventstore.StreamID) (all []*nats.Msg) {
	t.Helper()
	sub, err := nc.SubscribeSync("live." + log.Name() + ".>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		add(t, log, id, eventstore.Any, events(fmt.Sprint(i+1), "b"), nil)
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	return all
}

// copyOf returns a message to publish, as if the server did once more.
func copyOf(m *nats.Msg) *nats.Msg {
	c := &nats.Msg{Subject: m.Subject, Header: make(nats.Header), Data: slices.Clone(m.Data)}
	for key, values := range m.Header {
		c.Header[key] = slices.Clone(values)
	}
	return c
}

// A message on a live feed's subject is taken for a commit only if it is what the
// server makes of one.
func TestLiveForged(t *testing.T) {
	t.Parallel()
	s := oneNode(t)
	nc := testutil.Connect(t, s)
	log := s.live(t, "forged")
	id := eventstore.StreamID{Kind: "order", ID: "1"}
	genuine := s.republished(t, nc, log, id, id, id, id)[3]
	set := func(key string, values ...string) func(*nats.Msg) {
		return func(m *nats.Msg) { m.Header[key] = values }
	}
	for name, forge := range map[string]func(*nats.Msg){
		"nothing":    nil,
		"no headers": func(m *nats.Msg) { m.Header = nil },
		"not republished": func(m *nats.Msg) {
			maps.DeleteFunc(m.Header, func(key string, _ []string) bool { return strings.HasPrefix(key, "Nats-") })
		},
		"no position":          set("Nats-Sequence"),
		"position 0":           set("Nats-Sequence", "0"),
		"a second position":    set("Nats-Sequence", "4", "x"),
		"no time":              set("Nats-Time-Stamp", ""),
		"another log's":        set("Nats-Stream", "other"),
		"another stream's":     set("Nats-Subject", "forged.order.2"),
		"another kind's":       set("Nats-Subject", "forged.payment.1"),
		"another log's stream": set("Nats-Subject", "other.order.1"),
		"a subject twice": func(m *nats.Msg) {
			m.Subject, m.Header["Nats-Subject"] = "live.forged.order.%31", []string{"forged.order.%31"}
		},
		"after a later one": set("Nats-Last-Sequence", "4"),
		"after another one": set("Nats-Last-Sequence", "2"),
		"no place":          set("Hw-Commit"),
		"two places":        func(m *nats.Msg) { m.Header.Add("Hw-Commit", m.Header["Hw-Commit"][0]) },
		"another id":        set("ce-subject", "2"),
		"no id":             func(m *nats.Msg) { delete(m.Header, "ce-id") },
		"a later format":    func(m *nats.Msg) { m.Header["Hw-Commit"][0] = "2" + m.Header["Hw-Commit"][0][1:] },
		"headers only": func(m *nats.Msg) {
			delete(m.Header, "Hw-Events")
			m.Header["ce-type"], m.Header["ce-specversion"], m.Header["Nats-Msg-Size"], m.Data = []string{"x"}, []string{"1.0"}, []string{"3"}, nil
			m.Header["Hw-Commit"][0] = strings.Replace(m.Header["Hw-Commit"][0], "7-8", "7-7", 1)
		},
		"an event less": func(m *nats.Msg) { m.Data = m.Data[:1] },
		"a status":      func(m *nats.Msg) { m.Header = nats.Header{"Status": {"503"}} },
	} {
		l := listen(t, nc, log.Name(), eventstore.LiveOptions{})
		forged := copyOf(genuine)
		if forge != nil {
			forge(forged)
		}
		if err := nc.PublishMsg(forged); err != nil {
			t.Fatal(err)
		}
		if forge == nil {
			if e := l.next(t, 2)[1]; e.Position != 4 || e.Version != 8 {
				t.Errorf("heard %+v", e)
			}
			continue
		}
		if err := l.end(t); !errors.Is(err, eventstore.ErrCorrupt) || errors.Is(err, eventstore.ErrMissed) {
			t.Errorf("%s: the feed ended with %v", name, err)
		}
	}
}

// What is no commit in the log is none on the live feed either.
func TestLiveForeign(t *testing.T) {
	t.Parallel()
	s := oneNode(t)
	js := s.jetStream(t)
	log := s.open(t, js.Conn(), "foreign", &eventstore.Options{Live: true})
	id := eventstore.StreamID{Kind: "order", ID: "1"}
	genuine := s.republished(t, js.Conn(), log, id)[0]
	forged := copyOf(genuine)
	forged.Subject = "foreign.order.2"
	delete(forged.Header, "Nats-Msg-Id")
	for _, foreign := range []*nats.Msg{
		{Subject: "foreign.order.2", Data: []byte("x")},
		{Subject: "foreign.order.3", Header: nats.Header{"Nats-Sequence": {"7"}, "Nats-Subject": {"foreign.order.1"}, "Status": {"503"}}},
		forged,
	} {
		l := listen(t, js.Conn(), log.Name(), eventstore.LiveOptions{})
		ack, err := js.PublishMsg(t.Context(), foreign)
		if err != nil {
			// The guard of the copy is in the way.
			delete(foreign.Header, "Nats-Expected-Last-Subject-Sequence")
			ack, err = js.PublishMsg(t.Context(), foreign)
		}
		if err != nil {
			t.Fatal(err)
		}
		var damage *eventstore.CorruptionError
		if err := l.end(t); !errors.As(err, &damage) || damage.Position != ack.Sequence || damage.Log != log.Name() {
			t.Errorf("%s: the feed ended with %v", foreign.Subject, err)
		}
	}
}

// What comes twice is heard once, and what does not come is missed as soon as it
// can be seen.
func TestLiveOrder(t *testing.T) {
	t.Parallel()
	s := oneNode(t)
	nc := testutil.Connect(t, s)
	log := s.live(t, "order")
	one, two, payment := eventstore.StreamID{Kind: "order", ID: "1"}, eventstore.StreamID{Kind: "order", ID: "2"}, eventstore.StreamID{Kind: "payment", ID: "1"}
	all := s.republished(t, nc, log, one, payment, one, two, payment, one)
	everything, orders := eventstore.StreamID{}, eventstore.StreamID{Kind: "order"}
	for _, c := range []struct {
		of    eventstore.StreamID
		come  []int
		heard []int
		gap   bool
	}{
		{everything, []int{1, 2, 3}, []int{1, 2, 3}, false},
		{everything, []int{3, 3, 4, 4, 3, 5}, []int{3, 4, 5}, false},
		{everything, []int{3, 1, 2, 4}, []int{3, 4}, false},
		{everything, []int{1, 3}, []int{1}, true},
		{everything, []int{1, 2, 2, 5}, []int{1, 2}, true},
		{orders, []int{1, 3, 4, 6}, []int{1, 3, 4, 6}, false},
		{orders, []int{1, 1, 4, 4, 3, 6}, []int{1, 4}, true}, // 3 may be late
		{orders, []int{1, 6}, []int{1}, true},
		{orders, []int{1, 4}, []int{1, 4}, false}, // nothing tells
		{one, []int{1, 3, 1, 3, 6}, []int{1, 3, 6}, false},
		{one, []int{1, 6}, []int{1}, true},
		{one, []int{3, 6}, []int{3, 6}, false},
	} {
		l := listen(t, nc, log.Name(), eventstore.LiveOptions{Kind: c.of.Kind, ID: c.of.ID})
		for _, i := range c.come {
			if err := nc.PublishMsg(copyOf(all[i-1])); err != nil {
				t.Fatal(err)
			}
		}
		var heard []int
		for _, e := range l.next(t, 2*len(c.heard)) {
			if e.Version%2 == 0 {
				heard = append(heard, int(e.Position))
			}
		}
		if !slices.Equal(heard, c.heard) {
			t.Errorf("%v of %v: heard %v, want %v", c.come, c.of, heard, c.heard)
		}
		if c.gap {
			wantMissed(t, l.end(t), log.Name(), uint64(heard[len(heard)-1]), "came next")
		}
		l.leave()
	}

	// A server that knows an older state of the log gives its positions again.
	l := listen(t, nc, log.Name(), eventstore.LiveOptions{})
	again := copyOf(all[4])
	again.Header["Nats-Time-Stamp"] = []string{"2999-01-01T00:00:00Z"}
	for _, m := range []*nats.Msg{copyOf(all[5]), again} {
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	l.next(t, 2)
	wantMissed(t, l.end(t), log.Name(), 6, "another commit")
}
