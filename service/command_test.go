package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	c := h.client(t, nil)
	for i, replayed := range []bool{false, true} {
		var till Till
		at, err := c.Execute(t.Context(), "front", Pay{Amount: 7}, &service.CommandOptions{CommandID: "pay-1", State: &till})
		if err != nil {
			t.Fatal(err)
		}
		if at.Version != 1 || at.CommitID != "pay-1" || at.Replayed != replayed || till.Total != 7 {
			t.Errorf("attempt %d: %+v, %+v", i, at, till)
		}
		if stream, known := at.Stream(); !known || stream.String() != "till/front" {
			t.Errorf("the revision is of %v", stream)
		}
	}
	h.want(t, "front", 7, 1)
}

// What other programs need to know is that the wire is as the docs say.
func TestCommandOnTheWire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	answer := h.raw(t, "cash.command.till.pay", `{"Amount":3}`, nats.Header{"Hw-Aggregate-Id": {"a%20b"}, "Hw-Command-Id": {"one"}})
	var got map[string]any
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		t.Fatal(err)
	}
	revision, _ := got["revision"].(string)
	delete(got, "revision")
	if want := `map[commit_id:one position:1 state:map[Payments:1 Total:3] version:1]`; fmt.Sprint(got) != want || revision == "" {
		t.Errorf("got %v, want %s", got, want)
	}
	h.want(t, "a b", 3, 1)

	answer = h.raw(t, "cash.command.till.take", `{"Amount":9}`, nats.Header{"Hw-Aggregate-Id": {"a%20b"}})
	if code, text := answer.Header.Get("Nats-Service-Error-Code"), answer.Header.Get("Nats-Service-Error"); code != "422" || text != errShort.Error() {
		t.Errorf("got %s: %s", code, text)
	}
	if want := `{"error":"rejected","message":"` + errShort.Error() + `","code":"short","stream":{"kind":"till","id":"a b"},"version":1}`; string(answer.Data) != want {
		t.Errorf("got %s, want %s", answer.Data, want)
	}
}

func TestCommandMetadata(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	want := map[string]string{
		eventstore.CorrelationID: "order/1 ✓", eventstore.CausationID: "100%", eventstore.User: "ann\u00a0b",
		eventstore.TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", eventstore.TraceState: "a=1,b=%41",
	}
	if _, err := h.client(t, nil).Execute(t.Context(), "front", Pay{Amount: 1}, &service.CommandOptions{Metadata: want}); err != nil {
		t.Fatal(err)
	}
	for e, err := range h.store.Read(t.Context(), eventstore.StreamID{Kind: "till", ID: "front"}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(e.Metadata) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", e.Metadata, want)
		}
	}
}

// Any id goes, and means only itself.
func TestHostileIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	c := h.client(t, nil)
	for _, id := range []string{".", "*", ">", "a.b", "a b", "$JS", "%2e", "../x", "ключ", "\"", "a,b", " "} {
		if _, err := c.Execute(t.Context(), id, Pay{Amount: 1}, &service.CommandOptions{CommandID: id}); err != nil {
			t.Errorf("%q: %v", id, err)
		}
		h.want(t, id, 1, 1)
	}
	for _, id := range []string{"", "a\r\nHw-User: root", "\x00", "\xff", strings.Repeat("x", 256), "\u0085"} {
		if _, err := c.Execute(t.Context(), id, Pay{Amount: 1}, nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := c.Execute(t.Context(), "x", Pay{Amount: 1}, &service.CommandOptions{CommandID: id}); id != "" && !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("command id %q: %v", id, err)
		}
	}
	// Longer than a subject may be, which only the store knows.
	if _, err := c.Execute(t.Context(), strings.Repeat("x", 255), Pay{Amount: 1}, nil); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a long id: %v", err)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, &service.RespondOptions{MaxRequest: 100})
	const id, sound = "Hw-Aggregate-Id", `{"Amount":1}`
	for name, test := range map[string]struct {
		body   string
		header nats.Header
		want   string // bad request unless it begins with a code
	}{
		"no body":                    {"", nats.Header{id: {"x"}}, "is empty"},
		"no JSON":                    {"pay", nats.Header{id: {"x"}}, "malformed"},
		"cut off":                    {`{"Amount":`, nats.Header{id: {"x"}}, "malformed"},
		"trailing data":              {sound + `{}`, nats.Header{id: {"x"}}, "something follows"},
		"an unknown field":           {`{"Amount":1,"Secret":2}`, nats.Header{id: {"x"}}, `unknown field "Secret"`},
		"a wrong type":               {`{"Amount":"much"}`, nats.Header{id: {"x"}}, `JSON string, in field "Amount"`},
		"an array":                   {`[1]`, nats.Header{id: {"x"}}, "JSON array"},
		"too large":                  {`{"Amount":1,"Note":"` + strings.Repeat("x", 100) + `"}`, nats.Header{id: {"x"}}, "413: the request has"},
		"no id":                      {sound, nil, "is missing"},
		"another case":               {sound, nats.Header{"hw-aggregate-id": {"x"}}, "its letters count"},
		"a version in another case":  {sound, nats.Header{id: {"x"}, "hw-version": {"7"}}, "its letters count"},
		"an unknown header":          {sound, nats.Header{id: {"x"}, "Hw-Expected-Version": {"7"}}, "its letters count"},
		"two ids":                    {sound, nats.Header{id: {"x", "y"}}, "more than once"},
		"an id with a line feed":     {sound, nats.Header{id: {"x%0d%0aHw-User:%20root"}}, "control character"},
		"an id that is not escaped":  {sound, nats.Header{id: {"100%"}}, "percent-encoded"},
		"an id that is not UTF-8":    {sound, nats.Header{id: {"%ff"}}, "UTF-8"},
		"a long command id":          {sound, nats.Header{id: {"x"}, "Hw-Command-Id": {strings.Repeat("x", 256)}}, "over 255 bytes"},
		"a noncharacter":             {sound, nats.Header{id: {"x"}, "Hw-Command-Id": {"%EF%BF%BF"}}, "noncharacter"},
		"a user with a control":      {sound, nats.Header{id: {"x"}, "Hw-User": {"%1b"}}, "control character"},
		"a time-out without a digit": {sound, nats.Header{id: {"x"}, "Hw-Timeout-Ms": {"soon"}}, "milliseconds"},
		"a negative time-out":        {sound, nats.Header{id: {"x"}, "Hw-Timeout-Ms": {"-1"}}, "milliseconds"},
		"no time":                    {sound, nats.Header{id: {"x"}, "Hw-Timeout-Ms": {"0"}}, "milliseconds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := h.raw(t, "cash.command.till.pay", test.body, test.header)
			code, want, ok := strings.Cut(test.want, ": ")
			if !ok {
				code, want = "400", test.want
			}
			got := answer.Header.Get("Nats-Service-Error")
			if answer.Header.Get("Nats-Service-Error-Code") != code || !strings.Contains(got, want) {
				t.Errorf("got %v %s, want %s %s", answer.Header, answer.Data, code, want)
			}
			if strings.Contains(got, "Pay") || strings.Contains(got, "Go ") {
				t.Errorf("the answer tells of the program: %s", got)
			}
		})
	}
}

// Trace context that is malformed is left out, metadata of other names too, and a
// time-out of any length is none.
func TestIgnoredHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	for i, parent := range []string{
		"", "x", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", strings.Repeat("0", 60000),
	} {
		id := fmt.Sprint(i)
		h.raw(t, "cash.command.till.pay", `{"Amount":1}`, nats.Header{
			"Hw-Aggregate-Id": {id}, "traceparent": {parent}, "tracestate": {"a=1"}, "Hw-Timeout-Ms": {"9223372036854775807"},
			"ce-user": {"root"}, "Nats-Msg-Id": {"x"}, "Nats-Expected-Stream": {"other"},
		})
		for e, err := range h.store.Read(t.Context(), eventstore.StreamID{Kind: "till", ID: id}, nil) {
			if err != nil || len(e.Metadata) > 0 {
				t.Errorf("%s: %v, %v", parent, e.Metadata, err)
			}
		}
		h.want(t, id, 1, 1)
	}
}

// Several instances share the commands, and one is stopped in the middle: all are
// applied once, and each instance did some.
func TestInstancesShareTheLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const clients, each = 8, 40
	instances := []*service.Responder{h.instance(t, nil), h.instance(t, nil), h.instance(t, nil)}
	var all sync.WaitGroup
	half := make(chan struct{}, clients)
	for w := range clients {
		c := h.client(t, nil)
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("till-%d", i%5)
				if _, err := c.Execute(t.Context(), id, Pay{Amount: 1}, nil); err != nil {
					t.Errorf("client %d: %v", w, err)
				}
				if i == each/2 {
					half <- struct{}{}
				}
			}
		})
	}
	<-half
	stopResponder(t, instances[0])
	all.Wait()
	for i := range 5 {
		h.want(t, fmt.Sprintf("till-%d", i), clients*each/5, clients*each/5)
	}
	for _, stats := range tell[stats](t, h, "$SRV.STATS.cash", 2) {
		if stats.Endpoints[0].NumRequests == 0 || stats.Endpoints[0].NumErrors > 0 {
			t.Errorf("an instance has %+v", stats.Endpoints[0])
		}
	}
}

// lossy passes requests to the service on to it, and loses as many answers.
func lossy(t *testing.T, h house, lost int) *service.Client {
	t.Helper()
	nc := testutil.Connect(t, h.on)
	sub, err := nc.Subscribe("lossy.>", func(m *nats.Msg) {
		answer, err := nc.RequestMsg(&nats.Msg{Subject: "cash." + strings.TrimPrefix(m.Subject, "lossy."), Data: m.Data, Header: m.Header}, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		if lost--; lost < 0 {
			answer.Subject = m.Reply
			if err := nc.PublishMsg(answer); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	c, err := service.NewClient(testutil.Connect(t, h.on), "lossy", &service.ClientOptions{Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLostAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	at, err := lossy(t, h, 2).Execute(t.Context(), "front", Pay{Amount: 5}, nil)
	if err != nil || !at.Replayed || at.Version != 1 {
		t.Errorf("got %+v, %v", at, err)
	}
	h.want(t, "front", 5, 1)
}

// A client that never hears an answer does not know.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := lossy(t, h, 1000).Execute(ctx, "front", Pay{Amount: 5}, &service.CommandOptions{CommandID: "pay-1"})
	var unknown *eventstore.UnknownOutcomeError
	if !errors.As(err, &unknown) || unknown.CommitID != "pay-1" || unknown.Stream.String() != "till/front" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	at, err := h.client(t, nil).Execute(t.Context(), "front", Pay{Amount: 5}, &service.CommandOptions{CommandID: "pay-1"})
	if err != nil || !at.Replayed {
		t.Errorf("got %+v, %v", at, err)
	}
	h.want(t, "front", 5, 1)
}

// A panic is answered, without what it said, and logged.
func TestPanic(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var log bytes.Buffer
	r := h.respond(t, &service.RespondOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := h.client(t, nil)
	_, err := c.Execute(t.Context(), "front", trick(t, func(Till) ([]tillEvent, error) { panic("a secret") }), nil)
	if !errors.Is(err, service.ErrInternal) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 5}, nil); err != nil {
		t.Error(err)
	}
	stopResponder(t, r)
	if !strings.Contains(log.String(), "a secret") || !strings.Contains(log.String(), "command_main_test.go") {
		t.Errorf("the log has %s", &log)
	}
}

// A command with invalid events is the service's fault.
func TestInvalidEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	_, err := h.client(t, nil).Execute(t.Context(), "front", trick(t, func(Till) ([]tillEvent, error) { return []tillEvent{nil}, nil }), nil)
	if !errors.Is(err, service.ErrInternal) || errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// slow is a command that tells when it has begun, and decides when it is let go.
func slow(t *testing.T) (command Trick, begun, letGo chan struct{}) {
	begun, letGo = make(chan struct{}, 100), make(chan struct{})
	return trick(t, func(Till) ([]tillEvent, error) {
		begun <- struct{}{}
		<-letGo
		return []tillEvent{Paid{1}}, nil
	}), begun, letGo
}

// One command is in hand, one waits for its turn until its deadline, and another is
// refused at once.
func TestBusy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, &service.RespondOptions{InHand: 1, Waiting: 1})
	command, begun, letGo := slow(t)
	nc := testutil.Connect(t, h.on)
	body, _ := json.Marshal(command)
	answers := make(chan *nats.Msg, 3)
	inbox := nats.NewInbox()
	if _, err := nc.ChanSubscribe(inbox+".*", answers); err != nil {
		t.Fatal(err)
	}
	send := func(n int, header nats.Header) {
		header["Hw-Aggregate-Id"] = []string{fmt.Sprint(n)}
		if err := nc.PublishMsg(&nats.Msg{Subject: "cash.command.till.trick", Data: body, Header: header, Reply: fmt.Sprint(inbox, ".", n)}); err != nil {
			t.Error(err)
		}
	}
	send(1, nats.Header{})
	<-begun
	send(2, nats.Header{"Hw-Timeout-Ms": {"1"}})
	send(3, nats.Header{})
	refused := <-answers
	if !strings.HasSuffix(refused.Subject, ".3") || refused.Header.Get("Nats-Service-Error-Code") != "503" {
		t.Errorf("got %s: %v", refused.Subject, refused.Header)
	}
	for sent := time.Now(); time.Since(sent) < 5*time.Millisecond; { // until the second one is late
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	close(letGo)
	for range 2 {
		switch a := <-answers; {
		case strings.HasSuffix(a.Subject, ".1") && a.Header.Get("Nats-Service-Error-Code") == "":
		case strings.HasSuffix(a.Subject, ".2") && strings.Contains(string(a.Data), "not done in time"):
		default:
			t.Errorf("got %s: %v %s", a.Subject, a.Header, a.Data)
		}
	}
	h.want(t, "1", 1, 1)
	h.want(t, "2", 0, 0)
}

// A client comes back after a refusal.
func TestBusyIsOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	refused := make(chan struct{}, 1000)
	h.respond(t, &service.RespondOptions{Around: []service.Around{func(ctx context.Context, _ service.Request, next func(context.Context) error) error {
		if len(refused) < 3 {
			refused <- struct{}{}
			return &service.Error{Kind: eventstore.ErrUnavailable, Message: "later"}
		}
		return next(ctx)
	}}})
	if _, err := h.client(t, nil).Execute(t.Context(), "front", Pay{Amount: 2}, nil); err != nil {
		t.Error(err)
	}
	h.want(t, "front", 2, 1)
}

// A service that is stopped finishes what it has in hand. Another takes the rest.
func TestStop(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	command, begun, letGo := slow(t)
	r := h.respond(t, nil)
	var clients sync.WaitGroup
	clients.Go(func() {
		if at, err := h.client(t, &service.ClientOptions{Timeout: time.Minute}).Execute(t.Context(), "slow", command, nil); err != nil || at.Replayed {
			t.Errorf("got %+v, %v", at, err)
		}
	})
	<-begun
	stopped := make(chan struct{})
	go func() { stopResponder(t, r); close(stopped) }()
	h.instance(t, nil)
	if _, err := h.client(t, nil).Execute(t.Context(), "front", Pay{Amount: 2}, nil); err != nil {
		t.Error(err)
	}
	select {
	case <-stopped:
		t.Error("it stopped with a command in hand")
	default:
	}
	close(letGo)
	clients.Wait()
	<-stopped
	h.want(t, "slow", 1, 1)
}

// Stop does not wait for longer than it may, and breaks off what it leaves.
func TestStopInTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	broken := make(chan struct{})
	begun := make(chan struct{})
	r := h.respond(t, nil, service.Query(func(ctx context.Context, _ Totals) (int, error) {
		close(begun)
		<-ctx.Done()
		close(broken)
		return 0, ctx.Err()
	}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	c := h.client(t, nil)
	asked := make(chan error)
	go func() {
		_, err := service.Ask[int](ctx, c, Totals{}, nil)
		asked <- err
	}()
	<-begun
	ended, end := context.WithCancel(t.Context())
	end()
	if err := r.Stop(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 requests") {
		t.Errorf("got %v", err)
	}
	<-broken
	cancel()
	if err := <-asked; !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A reply subject that is no inbox could be the log's.
func TestAnswersGoToInboxes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	nc := testutil.Connect(t, h.on)
	for _, subject := range []string{"cash.command.till.pay", "$SRV.PING", "$SRV.INFO.cash"} {
		for _, reply := range []string{"", "test.till.forged"} {
			msg := &nats.Msg{Subject: subject, Reply: reply, Data: []byte(`{"Amount":1}`), Header: nats.Header{"Hw-Aggregate-Id": {"front"}}}
			if err := nc.PublishMsg(msg); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := h.client(t, nil).Execute(t.Context(), "back", Pay{Amount: 1}, nil); err != nil {
		t.Fatal(err)
	}
	h.want(t, "front", 0, 0)
	if last, err := h.store.Position(t.Context()); err != nil || last != 1 {
		t.Errorf("the log has %d messages: %v", last, err)
	}
}

func TestRespondRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	nc := testutil.Connect(t, h.on)
	pay := service.Handle[Pay](h.tills, nil)
	for name, respond := range map[string]func() (*service.Responder, error){
		"no connection": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nil, "x", []service.Endpoint{pay}, nil)
		},
		"a name of two words": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x.y", []service.Endpoint{pay}, nil)
		},
		"a name as of inboxes": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "_x", []service.Endpoint{pay}, nil)
		},
		"the name of live feeds": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "live", []service.Endpoint{pay}, nil)
		},
		"no endpoints": func() (*service.Responder, error) { return service.Respond(t.Context(), nc, "x", nil, nil) },
		"the same twice": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{pay, pay}, nil)
		},
		"a zero endpoint": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{{}}, nil)
		},
		"a version of one number": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{pay}, &service.RespondOptions{Version: "1"})
		},
		"a code with a dot": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{pay}, &service.RespondOptions{Errors: map[string]error{"a.b": errShort}})
		},
		"a code without an error": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{pay}, &service.RespondOptions{Errors: map[string]error{"a": nil}})
		},
		"a query of two words": func() (*service.Responder, error) {
			return service.Respond(t.Context(), nc, "x", []service.Endpoint{service.Query(func(context.Context, badQuery) (int, error) { return 0, nil }, nil)}, nil)
		},
	} {
		if _, err := respond(); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type badQuery struct{}

func (badQuery) RequestType() string { return "a.b" }

// Around sees each request, and can refuse it.
func TestAround(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, &service.RespondOptions{Around: []service.Around{func(ctx context.Context, r service.Request, next func(context.Context) error) error {
		if r.Subject == "cash.command.till.pay" && r.Metadata[eventstore.User] != "ann" {
			return errShort
		}
		return next(eventstore.WithMetadata(ctx, map[string]string{eventstore.TraceParent: "mine"}))
	}}})
	c := h.client(t, nil)
	var rule *service.Rejection
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); !errors.Is(err, errShort) || !errors.As(err, &rule) || errors.As(err, new(*aggregate.RejectedError)) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, &service.CommandOptions{Metadata: map[string]string{eventstore.User: "ann"}}); err != nil {
		t.Error(err)
	}
	for e, err := range h.store.Read(t.Context(), eventstore.StreamID{Kind: "till", ID: "front"}, nil) {
		if err != nil || fmt.Sprint(e.Metadata) != "map[traceparent:mine user:ann]" {
			t.Errorf("got %v, %v", e.Metadata, err)
		}
	}
}

// Each answer is told, with the word that it has, also where nothing was executed.
func TestOnAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	answers := make(chan service.Answered, 10)
	words := make(chan string, 10)
	h.respond(t, &service.RespondOptions{
		OnAnswer: func(a service.Answered) { answers <- a },
		Around: []service.Around{func(ctx context.Context, r service.Request, next func(context.Context) error) error {
			err := next(ctx)
			words <- r.Subject + " " + r.Outcome(err)
			return err
		}},
	})
	front := nats.Header{"Hw-Aggregate-Id": {"front"}}
	for _, row := range []struct {
		command, body string
		header        nats.Header
		want          string
		executed      bool
	}{
		{"pay", `{"Amount":1}`, front, "ok", true},
		{"take", `{"Amount":5}`, front, "rejected", true},
		{"take", `{"Amount":5}`, nats.Header{"Hw-Aggregate-Id": {"none"}}, "not-found", true},
		{"pay", `{"Amount":1}`, nil, "bad-request", true},
		{"pay", `{"Amount":1}`, nats.Header{"Hw-Timeout-Ms": {"x"}}, "bad-request", false},
	} {
		h.raw(t, "cash.command.till."+row.command, row.body, row.header)
		if got := <-answers; got.Subject != "cash.command.till."+row.command || got.Outcome != row.want || got.Took <= 0 {
			t.Errorf("got %+v, want %s", got, row.want)
		}
		if !row.executed {
			continue
		}
		if got := <-words; got != "cash.command.till."+row.command+" "+row.want {
			t.Errorf("around it: %s, want %s", got, row.want)
		}
	}
	if len(words)+len(answers) > 0 {
		t.Errorf("told %d and %d times too often", len(words), len(answers))
	}
}
