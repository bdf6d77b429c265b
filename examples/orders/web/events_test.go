package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
)

// A message is one of a stream of events. One without type and data only says where
// the stream stands.
type message struct{ id, kind, data string }

// A listening is a client of the stream of events, as a browser is one.
type listening struct {
	answer *http.Response
	lines  *bufio.Scanner
	last   string // id of the last message
	close  func()
}

// listen connects. The query and header say where to begin.
func (s *shop) listen(t *testing.T, query string, header ...string) *listening {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) > 0 {
		r.Header.Set(header[0], header[1])
	}
	answer, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("status %d, a %s", answer.StatusCode, kind)
	}
	l := &listening{answer: answer, lines: bufio.NewScanner(answer.Body)}
	l.close = func() {
		cancel()
		answer.Body.Close()
	}
	t.Cleanup(l.close)
	return l
}

// next returns the next message, false after the last one.
func (l *listening) next(t *testing.T) (m message, ok bool) {
	t.Helper()
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "id":
			m.id, l.last = value, value
		case "event":
			m.kind = value
		case "data":
			m.data = value
		case "":
			if m != (message{}) {
				return m, true
			}
		case "retry":
		default:
			t.Errorf("a line %q", l.lines.Text())
		}
	}
	return m, false
}

// event returns the next message that is an event.
func (l *listening) event(t *testing.T) (message, happened) {
	t.Helper()
	for {
		m, ok := l.next(t)
		if !ok {
			t.Fatalf("the stream ended: %v", l.lines.Err())
		}
		if m.kind == "" {
			continue
		}
		var h happened
		d := json.NewDecoder(strings.NewReader(m.data))
		d.DisallowUnknownFields()
		if err := d.Decode(&h); err != nil {
			t.Fatalf("%s: %v", m.data, err)
		}
		return m, h
	}
}

type happened struct {
	ID, Type, Customer, Reason string
	Version, Position          uint64
	Time                       time.Time
	Line                       *order.Line
	Amount                     string
}

func TestEvents(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "before")
	l := s.listen(t, "")
	if m, _ := l.next(t); m != (message{id: "1"}) {
		t.Errorf("it begins with %+v", m)
	}
	s.do(t, "POST", "/orders", `{"card":"secret-1","required":"2026-12-24",`+named("1")[1:]).order(t, http.StatusCreated)
	s.pay(t, "1")
	s.do(t, "POST", "/orders/1/cancel", `{"reason":"two\nlines"}`).order(t, http.StatusOK)
	for _, want := range []string{
		`{2.1 order.placed {"id":"1","type":"order.placed","version":1,"position":2,"time":T,"customer":"ALFKI"}}`,
		`{2.2 order.line-added {"id":"1","type":"order.line-added","version":2,"position":2,"time":T,"line":{"number":1,"product":"Chai","unitPrice":"18.00","quantity":2}}}`,
		`{2 order.line-added {"id":"1","type":"order.line-added","version":3,"position":2,"time":T,"line":{"number":2,"product":"Tofu","unitPrice":"23.25","quantity":1,"discount":"0.05"}}}`,
		`{3 order.paid {"id":"1","type":"order.paid","version":4,"position":3,"time":T,"amount":"58.0875"}}`,
		`{4 order.cancelled {"id":"1","type":"order.cancelled","version":5,"position":4,"time":T,"reason":"two\nlines"}}`,
	} {
		m, h := l.event(t)
		at, err := h.Time.MarshalJSON()
		if err != nil || time.Since(h.Time) > time.Hour {
			t.Errorf("it happened at %v, %v", h.Time, err)
		}
		m.data = strings.Replace(m.data, string(at), "T", 1)
		if got := fmt.Sprint(m); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What streams of other kinds have is not sent, but the place moves on.
func TestEventsOfOthers(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.front.Heartbeat(10 * time.Millisecond)
	other := eventstore.StreamID{Kind: "payment", ID: "1"}
	append := func() {
		if _, err := s.log.Append(t.Context(), other, eventstore.Any, []eventstore.EventData{{Type: "payment.requested", Data: []byte(`{"card":"secret"}`)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	append()
	l, late := s.listen(t, "?after=0"), s.listen(t, "?after=1")
	append()
	s.place(t, "1")
	for _, l := range []*listening{l, late} {
		if m, _ := l.event(t); m.id != "3.1" {
			t.Errorf("the first is %+v", m)
		}
	}
	again := s.listen(t, "", "Last-Event-ID", "1")
	for range 3 {
		again.event(t)
	}
	append()
	for m := (message{}); m.id != "4"; m, _ = again.next(t) {
		if m.kind != "" {
			t.Fatalf("got %+v", m)
		}
	}
}

// A client whose connection breaks, after any event, gets all of them once.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	const orders = 60
	var placing sync.WaitGroup
	defer placing.Wait()
	l := s.listen(t, "?after=0")
	placing.Go(func() {
		for n := range orders {
			s.place(t, fmt.Sprint(n))
			if n%3 == 0 {
				s.pay(t, fmt.Sprint(n))
			}
			if n%7 == 0 { // the live feed has a break
				if err := s.conn.ForceReconnect(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	random := rand.New(rand.NewPCG(1, 2))
	versions := map[string]uint64{}
	var position uint64
	for events, left := 0, 1+random.IntN(9); events < orders*3+orders/3; events++ {
		m, h := l.event(t)
		if h.Version != versions[h.ID]+1 || h.Position != position && h.Position != position+1 {
			t.Fatalf("after position %d and version %d came %+v", position, versions[h.ID], m)
		}
		versions[h.ID], position = h.Version, h.Position
		if left--; left == 0 {
			left = 1 + random.IntN(9)
			l.close()
			l = s.listen(t, "?after=0", "Last-Event-ID", l.last)
		}
	}
}

// Who comes while much happens gets what is between the log and the live feed once.
func TestEventsJoin(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	placed, err := order.Codec.Encode(order.Placed{Customer: "ALFKI"})
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	place := func(count int) {
		for range count {
			next++
			id := eventstore.StreamID{Kind: order.Kind, ID: fmt.Sprint(next)}
			if _, err := s.log.Append(t.Context(), id, eventstore.NoStream, []eventstore.EventData{placed}, nil); err != nil {
				t.Error(err)
			}
		}
	}
	for range 100 {
		var placing sync.WaitGroup
		placing.Go(func() { place(50) })
		l := s.listen(t, "")
		m, _ := l.next(t)
		placing.Wait()
		place(3)
		head, err := strconv.ParseUint(m.id, 10, 64)
		if err != nil {
			t.Fatalf("it begins with %+v", m)
		}
		for n := range uint64(3) {
			if m, h := l.event(t); h.Position != head+1+n {
				t.Fatalf("event %d after position %d is %+v", n, head, m)
			}
		}
		l.close()
	}
}

// The rest of a commit comes, whatever its last event was that arrived.
func TestEventsResumeInCommit(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "1")
	s.place(t, "2")
	for id, want := range map[string]string{"0": "1.1", "1.1": "1.2", "1.2": "1", "1.3": "2.1", "1": "2.1", "2.2": "2"} {
		l := s.listen(t, "", "Last-Event-ID", id)
		if m, _ := l.event(t); m.id != want {
			t.Errorf("after %s comes %+v, want %s", id, m, want)
		}
		l.close()
	}
}

// Who is too far behind, or ahead of the log, is told to read the list.
func TestEventsReload(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.front.Behind(2)
	for n := range 4 {
		s.place(t, fmt.Sprint(n))
	}
	for id, want := range map[string]string{"1": "{4 reload {\"position\":4}}", "5": "{4 reload {\"position\":4}}", "2": "{3.1 order.placed", "9223372036854775807": "{4 reload"} {
		l := s.listen(t, "", "Last-Event-ID", id)
		m, _ := l.event(t)
		if got := fmt.Sprint(m); !strings.HasPrefix(got, want) {
			t.Errorf("after %s comes %s, want %s", id, got, want)
		}
		l.close()
	}
	l := s.listen(t, "?after=0")
	l.event(t)
	s.place(t, "next")
	if m, h := l.event(t); m.id != "5.1" || h.ID != "next" {
		t.Errorf("after that comes %+v", m)
	}
}

// While nothing happens the client hears where it is, so that it does not come back
// from too far behind. A request's time has no meaning then.
func TestEventsIdle(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.front.Heartbeat(20 * time.Millisecond)
	hurried := httptest.NewUnstartedServer(nil)
	hurried.Config = web.Server(s.front)
	hurried.Config.ReadTimeout, hurried.Config.WriteTimeout = 30*time.Millisecond, 30*time.Millisecond
	hurried.Start()
	t.Cleanup(hurried.Close)
	t.Cleanup(s.front.Close)
	s.server.Close()
	s.server = hurried
	l := s.listen(t, "?after=0")
	for range 10 {
		if m, ok := l.next(t); !ok || m != (message{id: "0"}) {
			t.Fatalf("got %+v, %v, %v", m, ok, l.lines.Err())
		}
	}
}

// Streams end when the client goes, when the front is closed, and when its server is
// told to stop.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	l, other := s.listen(t, ""), s.listen(t, "")
	l.next(t)
	other.next(t)
	if n := s.front.Streams(); n != 2 {
		t.Errorf("%d listen", n)
	}
	l.close()
	for deadline := time.Now().Add(patience); s.front.Streams() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d listen", s.front.Streams())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.server.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if m, ok := other.next(t); ok {
		t.Errorf("after the end came %+v", m)
	}
	if n := s.front.Streams(); n != 0 {
		t.Errorf("%d listen", n)
	}
}

func TestEventsOfClosed(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.front.Close()
	s.front.Close()
	s.do(t, "GET", "/events", "").problem(t, http.StatusServiceUnavailable, "unavailable")
	s.place(t, "1")
}

// A writer is a client that takes nothing until it is let go.
type writer struct {
	header http.Header
	begun  chan struct{}
	let    chan struct{}
	once   sync.Once
	got    strings.Builder
}

func (w *writer) Header() http.Header { return w.header }
func (w *writer) WriteHeader(int)     {}
func (w *writer) Flush()              {}
func (w *writer) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.let
	return w.got.Write(b)
}

// A client that is slow gets what waited for it, and is dropped; others do not wait
// for it.
func TestEventsSlow(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &writer{header: http.Header{}, begun: make(chan struct{}), let: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.front.ServeHTTP(slow, r)
	}()
	<-slow.begun
	l := s.listen(t, "")
	l.next(t)
	const orders = 1200
	stream := func(n int) eventstore.StreamID { return eventstore.StreamID{Kind: order.Kind, ID: fmt.Sprint(n)} }
	placed, err := order.Codec.Encode(order.Placed{Customer: "ALFKI"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range orders {
		if _, err := s.log.Append(t.Context(), stream(n), eventstore.NoStream, []eventstore.EventData{placed}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for n := range orders {
		if _, h := l.event(t); h.ID != fmt.Sprint(n) {
			t.Fatalf("event %d is of order %s", n, h.ID)
		}
	}
	close(slow.let)
	<-ended
	got := slices.DeleteFunc(strings.Split(slow.got.String(), "\n"), func(line string) bool { return !strings.HasPrefix(line, "id: ") })
	for i, line := range got {
		if line != fmt.Sprintf("id: %d", i) {
			t.Fatalf("message %d has the %s", i, line)
		}
	}
	if len(got) < 100 || len(got) == orders {
		t.Errorf("the slow client got %d messages", len(got))
	}
}

// A live feed that misses the last commit is noticed.
func TestEventsMissed(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.front.Hear("another") // in which nothing happens
	s.front.Heartbeat(10 * time.Millisecond)
	l := s.listen(t, "")
	s.place(t, "1")
	if m, _ := l.event(t); m.id != "1.1" {
		t.Errorf("got %+v", m)
	}
}

// A live feed of which nothing can be made ends, and with it the streams. Whoever comes
// back goes on where it was.
func TestEventsForged(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "1")
	l := s.listen(t, "?after=1")
	l.next(t)
	if err := s.conn.Publish("live."+s.log.Name()+".order.1", []byte("no commit")); err != nil {
		t.Fatal(err)
	}
	for ok := true; ok; {
		_, ok = l.next(t)
	}
	l = s.listen(t, "", "Last-Event-ID", l.last)
	if m, _ := l.next(t); m != (message{id: "1"}) {
		t.Errorf("after the break it begins with %+v", m)
	}
	s.place(t, "2")
	if m, _ := l.event(t); m.id != "2.1" {
		t.Errorf("got %+v", m)
	}
}
