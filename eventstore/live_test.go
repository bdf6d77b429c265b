package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var liveItems = []item{
	{"a live feed is of everything, a kind or a stream", liveChoice},
	{"a live feed leaves nothing behind", liveLeavesNothing},
	{"an existing log gets a live feed", liveExisting},
	{"a live feed of another's is not taken", liveTaken},
	{"a burst waits for a live reader", liveBurst},
	{"a live reader that is too slow is told", liveTooSlow},
	{"a live feed goes on from where its reader is", liveCatchUp},
	{"a live feed that was cut ends", liveCut},
}

// live returns a store of a new log with a live feed.
func (s site) live(t *testing.T, name string) *eventstore.Store {
	t.Helper()
	return s.log(t, name, &eventstore.Options{Live: true})
}

// A listener iterates a live feed in the background.
type listener struct {
	heard chan eventstore.Event
	ended chan error // why it did, nil if it was stopped
	leave context.CancelFunc
}

// listen returns when the server has the subscription.
func listen(t *testing.T, nc *nats.Conn, log string, opts eventstore.LiveOptions) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{make(chan eventstore.Event), make(chan error, 1), cancel}
	subscribed, caught := make(chan struct{}), opts.CatchUp
	opts.Subscribed = func() { close(subscribed) }
	if caught != nil { // then that is over, too
		opts.Subscribed = nil
		opts.CatchUp = func() (uint64, error) { defer close(subscribed); return caught() }
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for e, err := range eventstore.Live(ctx, nc, log, &opts) {
			if err != nil {
				l.ended <- err
				return
			}
			select {
			case l.heard <- e:
			case <-ctx.Done():
				l.ended <- nil
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); listening.Wait() })
	select {
	case <-subscribed:
	case err := <-l.ended:
		t.Fatal(err)
	}
	return l
}

// next returns the next n events.
func (l *listener) next(t *testing.T, n int) (all []eventstore.Event) {
	t.Helper()
	for range n {
		select {
		case e := <-l.heard:
			all = append(all, e)
		case err := <-l.ended:
			t.Fatalf("after %d of %d events: %v", len(all), n, err)
		}
	}
	return all
}

// end waits for the end of the feed, at which nothing more may come.
func (l *listener) end(t *testing.T) error {
	t.Helper()
	select {
	case e := <-l.heard:
		t.Fatalf("heard %+v, want the end", e)
	case err := <-l.ended:
		return err
	}
	return nil
}

// wantMissed checks that a feed ended with a doubt.
func wantMissed(t *testing.T, err error, log string, after uint64, cause string) {
	t.Helper()
	var missed *eventstore.MissedError
	switch {
	case !errors.As(err, &missed) || !errors.Is(err, eventstore.ErrMissed):
		t.Errorf("the feed ended with %v, want a MissedError", err)
	case missed.Log != log || missed.After != after || !strings.Contains(missed.Cause.Error(), cause):
		t.Errorf("the feed ended with %v, want one after position %d because of %q", missed, after, cause)
	}
}

// awkward are ids with characters that mean something in subjects.
var awkward = []string{"1", "a.b", "*", ">", "a.*", "a b", "%2A", "%", "zürich", "日本", "a/b", "..", "$JS.API.>", "{{wildcard(1)}}"}

func liveChoice(t *testing.T, s site) {
	log := s.live(t, "lively")
	other := s.live(t, "live-other")
	consumers := s.consumers(t, log.Name())
	nc := testutil.Connect(t, s)
	listeners := make(map[eventstore.StreamID]*listener)
	for _, kind := range []string{"", "order", "payment", "nothing"} {
		listeners[eventstore.StreamID{Kind: kind}] = listen(t, nc, log.Name(), eventstore.LiveOptions{Kind: kind})
	}
	for _, id := range awkward {
		listeners[eventstore.StreamID{Kind: "order", ID: id}] = listen(t, nc, log.Name(), eventstore.LiveOptions{Kind: "order", ID: id})
	}
	heads := make(map[eventstore.StreamID]eventstore.Revision)
	for n := range 3 {
		for _, id := range awkward {
			for _, kind := range []string{"order", "payment"} {
				for _, store := range []*eventstore.Store{other, log} {
					id := eventstore.StreamID{Kind: kind, ID: id}
					data := slices.Repeat(events("x"), n+1)
					at := add(t, store, id, eventstore.Any, data, &eventstore.AppendOptions{Metadata: map[string]string{"user": "ann"}})
					heads[id] = at
				}
			}
		}
	}
	all := logged(t, log, 0)
	for choice, l := range listeners {
		want := slices.Clone(all)
		want = slices.DeleteFunc(want, func(e eventstore.Event) bool {
			return choice.Kind != "" && e.Stream.Kind != choice.Kind || choice.ID != "" && e.Stream.ID != choice.ID
		})
		got := l.next(t, len(want))
		wantLogged(t, got, want)
		for i, e := range got {
			w := want[i]
			if !e.Recorded.Equal(w.Recorded) || !e.Time.Equal(w.Time) || e.Type != w.Type || e.ContentType != w.ContentType || e.ID() != w.ID() || !maps.Equal(e.Metadata, w.Metadata) {
				t.Errorf("heard %+v, the log has %+v", e, w)
			}
			if json, err := e.MarshalJSON(); err != nil || !bytesEqualJSON(t, json, w) {
				t.Errorf("as a CloudEvent: %s, %v", json, err)
			}
		}
	}
	if n := consumers(); n != 0 {
		t.Errorf("there are %d consumers", n)
	}
	// It is not known which log a live revision is of.
	id := eventstore.StreamID{Kind: "order", ID: "1"}
	l := listeners[id]
	add(t, log, id, heads[id], events("last"), nil)
	live := l.next(t, 1)[0]
	if _, err := log.Append(t.Context(), id, live.Revision(), events("x"), nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("append after a live revision: %v", err)
	}
	for choice, l := range listeners {
		if choice.ID != "" && choice != id || choice.Kind == "nothing" {
			l.leave()
			if err := l.end(t); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v: ended with %v", choice, err)
			}
		}
	}
}

func bytesEqualJSON(t *testing.T, got []byte, e eventstore.Event) bool {
	t.Helper()
	want, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(got) == string(want)
}

func liveLeavesNothing(t *testing.T, s site) {
	log := s.live(t, "live-leaves")
	nc := testutil.Connect(t, s)
	subscriptions := nc.NumSubscriptions()
	for name, opts := range map[string]*eventstore.LiveOptions{
		"no kind":       {ID: "1"},
		"a wildcard":    {Kind: "*"},
		"all":           {Kind: ">"},
		"two tokens":    {Kind: "a.b"},
		"an illegal id": {Kind: "order", ID: "\n"},
		"a long id":     {Kind: "order", ID: strings.Repeat("x", 255)},
	} {
		if all, err := collect(eventstore.Live(t.Context(), nc, log.Name(), opts)); len(all) > 0 || !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, all, err)
		}
	}
	for _, name := range []string{"", "*", "a.b", "live.>"} {
		if _, err := collect(eventstore.Live(t.Context(), nc, name, nil)); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("log %q: %v", name, err)
		}
	}
	if _, err := collect(eventstore.Live(t.Context(), nil, log.Name(), nil)); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("no connection: %v", err)
	}

	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := collect(eventstore.Live(ctx, nc, log.Name(), &eventstore.LiveOptions{Subscribed: func() { cancel(cause) }}))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || errors.Is(err, eventstore.ErrMissed) {
		t.Errorf("the context ended: %v", err)
	}
	_, err = collect(eventstore.Live(ctx, nc, log.Name(), nil))
	if !errors.Is(err, context.Canceled) || errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("the context had ended: %v", err)
	}
	_, err = collect(eventstore.Live(t.Context(), nc, log.Name(), &eventstore.LiveOptions{CatchUp: func() (uint64, error) { return 0, cause }}))
	if !errors.Is(err, cause) {
		t.Errorf("not caught up: %v", err)
	}

	// Broken off within a commit, and iterated again.
	feed := eventstore.Live(t.Context(), nc, log.Name(), &eventstore.LiveOptions{Subscribed: func() {
		for range 3 {
			add(t, log, stream(t), eventstore.Any, events("a", "b"), nil)
		}
	}})
	for range 2 {
		n := 0
		for _, err := range feed {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
		if n := nc.NumSubscriptions(); n != subscriptions {
			t.Errorf("%d subscriptions, %d before", n, subscriptions)
		}
	}
	nc.Close()
	if _, err := collect(feed); !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, eventstore.ErrMissed) {
		t.Errorf("the connection is closed: %v", err)
	}
}

// config returns the settings of a log.
func (s site) config(t *testing.T, log string) jetstream.StreamConfig {
	t.Helper()
	info, err := s.jetStream(t).Stream(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	return info.CachedInfo().Config
}

func liveExisting(t *testing.T, s site) {
	js := s.jetStream(t)
	before := s.config(t, s.log(t, "live-existing", &eventstore.Options{Compress: true}).Name())
	before.Description, before.Metadata["theirs"] = "ours", "kept"
	before.ConsumerLimits = jetstream.StreamConsumerLimits{MaxAckPending: 1234}
	if _, err := js.UpdateStream(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	before = s.config(t, "live-existing")
	nc := testutil.Connect(t, s)
	l := listen(t, nc, "live-existing", eventstore.LiveOptions{})
	plain := s.open(t, nc, "live-existing", nil)
	add(t, plain, stream(t), eventstore.Any, events("unheard"), nil)

	var opening sync.WaitGroup
	for range 4 {
		opening.Go(func() { s.open(t, testutil.Connect(t, s), "live-existing", &eventstore.Options{Live: true}) })
	}
	opening.Wait()
	add(t, plain, stream(t), eventstore.Any, events("heard"), nil)
	if e := l.next(t, 1)[0]; string(e.Data) != "heard" || e.Version != 2 {
		t.Errorf("heard %+v", e)
	}
	s.open(t, nc, "live-existing", nil) // leaves it as it is
	after := s.config(t, "live-existing")
	if after.RePublish == nil || *after.RePublish != (jetstream.RePublish{Source: "live-existing.*.*", Destination: "live.live-existing.{{wildcard(1)}}.{{wildcard(2)}}"}) {
		t.Errorf("the log republishes %+v", after.RePublish)
	}
	after.RePublish = nil
	if a, b := fmt.Sprintf("%+v", before), fmt.Sprintf("%+v", after); a != b {
		t.Errorf("the settings were\n%s\nand are\n%s", a, b)
	}
}

func liveTaken(t *testing.T, s site) {
	js := s.jetStream(t)
	plain := s.log(t, "live-taken", nil)
	cfg := s.config(t, plain.Name())
	ours := jetstream.RePublish{Source: "live-taken.*.*", Destination: "live.live-taken.{{wildcard(1)}}.{{wildcard(2)}}"}
	bare := ours
	bare.HeadersOnly = true
	for _, c := range []struct {
		set   jetstream.RePublish
		taken bool
	}{
		{jetstream.RePublish{Source: "live-taken.order.*", Destination: "theirs.{{wildcard(1)}}"}, true},
		{jetstream.RePublish{Destination: "theirs.>"}, true},
		{bare, true},
		{ours, false},
	} {
		cfg.RePublish = &c.set
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		before := s.config(t, plain.Name()).RePublish
		s.open(t, js.Conn(), plain.Name(), nil)
		_, err := eventstore.Open(t.Context(), js.Conn(), plain.Name(), &eventstore.Options{Live: true, AllowUnsafe: []string{"republish"}})
		var unsafe *eventstore.UnsafeLogError
		if errors.As(err, &unsafe) != c.taken || c.taken && !strings.Contains(unsafe.Problems[0], "republish") {
			t.Errorf("a log that republishes %+v: %v", c.set, err)
		}
		if after := s.config(t, plain.Name()).RePublish; *after != *before {
			t.Errorf("it republished %+v, and republishes %+v", before, after)
		}
	}
}

func liveBurst(t *testing.T, s site) {
	const writers, each = 8, 100
	log := s.live(t, "live-burst")
	l := listen(t, testutil.Connect(t, s), log.Name(), eventstore.LiveOptions{})
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				id := eventstore.StreamID{Kind: "order", ID: fmt.Sprint(w, "/", i%7)}
				if _, err := log.Append(t.Context(), id, eventstore.Any, events("a", "b"), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait() // the reader waits meanwhile
	wantLogged(t, l.next(t, 2*writers*each), logged(t, log, 0))
}

func liveTooSlow(t *testing.T, s site) {
	log := s.live(t, "live-too-slow")
	nc := through(t, []*proxy{startProxy(t, s.urls[0], eventstore.Seeded(t))}) // says nothing of it
	l := listen(t, nc, log.Name(), eventstore.LiveOptions{})
	large := events(strings.Repeat("x", 1_000_000))
	before := add(t, log, stream(t), eventstore.Any, large, nil)
	for range 40 { // more than may wait
		add(t, log, stream(t), eventstore.Any, large, nil)
	}
	eventually(t, "messages are dropped", func() bool { return errors.Is(nc.LastError(), nats.ErrSlowConsumer) })
	l.next(t, 1)
	err := l.end(t)
	wantMissed(t, err, log.Name(), before.Position, "too much waited")
	if !errors.Is(err, nats.ErrSlowConsumer) {
		t.Errorf("%v does not match the cause", err)
	}
	// Others have the connection as before.
	l = listen(t, nc, log.Name(), eventstore.LiveOptions{CatchUp: func() (uint64, error) { return log.Position(t.Context()) }})
	add(t, log, stream(t), eventstore.Any, events("next"), nil)
	if e := l.next(t, 1)[0]; string(e.Data) != "next" {
		t.Errorf("heard %.100q", e.Data)
	}
}

func liveCatchUp(t *testing.T, s site) {
	order, payment := eventstore.StreamID{Kind: "order", ID: "1"}, eventstore.StreamID{Kind: "payment", ID: "1"}
	// Each reader has read up to somewhere, and positions 6 to 8 come meanwhile,
	// which are an order, a payment and an order again.
	for _, c := range []struct {
		name  string
		of    eventstore.StreamID
		after uint64
		texts []string // heard
		gap   bool
	}{
		{"everything, read to the end", eventstore.StreamID{}, 5, []string{"6", "7", "8"}, false},
		{"everything, read beyond", eventstore.StreamID{}, 7, []string{"8"}, false},
		{"everything, not read to the end", eventstore.StreamID{}, 4, nil, true},
		{"everything, nothing read", eventstore.StreamID{}, 0, nil, true},
		{"a kind, read to the end", eventstore.StreamID{Kind: "order"}, 5, []string{"6", "8"}, false},
		{"a kind, read beyond", eventstore.StreamID{Kind: "order"}, 6, []string{"8"}, false},
		{"a kind, not read to the end", eventstore.StreamID{Kind: "order"}, 3, nil, true},
		{"a stream, read to its end", order, 4, []string{"6", "8"}, false},
		{"a stream, not read to its end", order, 3, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log := s.live(t, "live-catch-up-"+strings.NewReplacer(" ", "-", ",", "").Replace(c.name))
			write := func(from int, ids ...eventstore.StreamID) {
				for i, id := range ids {
					add(t, log, id, eventstore.Any, events(fmt.Sprint(from+i)), nil)
				}
			}
			write(1, order, payment, order, order, payment)
			l := listen(t, testutil.Connect(t, s), log.Name(), eventstore.LiveOptions{Kind: c.of.Kind, ID: c.of.ID, CatchUp: func() (uint64, error) {
				write(6, order, payment, order)
				return c.after, nil
			}})
			if got := texts(l.next(t, len(c.texts))); !slices.Equal(got, c.texts) {
				t.Errorf("heard %q, want %q", got, c.texts)
			}
			if c.gap {
				wantMissed(t, l.end(t), log.Name(), c.after, "position")
			}
		})
	}
}

func liveCut(t *testing.T, s site) {
	log := s.live(t, "live-cut")
	p := startProxy(t, s.urls[0], eventstore.Seeded(t))
	nc := through(t, []*proxy{p})
	l := listen(t, nc, log.Name(), eventstore.LiveOptions{})
	at := add(t, log, stream(t), eventstore.Any, events("a"), nil)
	l.next(t, 1)
	p.hold(toClient)
	add(t, log, stream(t), eventstore.Any, events("lost"), nil)
	p.lose()
	wantMissed(t, l.end(t), log.Name(), at.Position, "connection")

	// It waits for the connection, and begins again.
	l = listen(t, nc, log.Name(), eventstore.LiveOptions{CatchUp: func() (uint64, error) { return log.Position(t.Context()) }})
	add(t, log, stream(t), eventstore.Any, events("c"), nil)
	if e := l.next(t, 1)[0]; string(e.Data) != "c" {
		t.Errorf("heard %+v", e)
	}
	nc.Close()
	err := l.end(t)
	wantMissed(t, err, log.Name(), 3, "closed")
}
