package service_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

const (
	parent      = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	otherParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-00"
)

// metadataOf returns what the last commit of a till has.
func (h house) metadataOf(t *testing.T, till string) (last map[string]string) {
	t.Helper()
	for e, err := range h.store.Read(t.Context(), eventstore.StreamID{Kind: "till", ID: till}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		last = e.Metadata
	}
	return last
}

// What the context says goes with a command and with a query, and what the options
// say counts for more.
func TestContextGoesWithRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	asked := make(chan map[string]string, 10)
	h.respond(t, nil, service.Query(func(ctx context.Context, _ Totals) (int, error) {
		asked <- eventstore.Metadata(ctx)
		return 0, nil
	}, nil))
	c := h.client(t, nil)
	long := strings.Repeat("ж", 300)
	for name, row := range map[string]struct{ context, options, want map[string]string }{
		"nothing": {},
		"all that goes": {
			context: map[string]string{"correlationid": "a b", "causationid": long, "user": "ann", "traceparent": parent, "tracestate": "a=1"},
			want:    map[string]string{"correlationid": "a b", "causationid": long, "user": "ann", "traceparent": parent, "tracestate": "a=1"},
		},
		"others stay": {
			context: map[string]string{"user": "ann", "tenant": "north", "comment": "x\r\ny"},
			want:    map[string]string{"user": "ann"},
		},
		"the options count for more": {
			context: map[string]string{"user": "ann", "correlationid": "a", "traceparent": parent},
			options: map[string]string{"user": "bob", "traceparent": otherParent},
			want:    map[string]string{"user": "bob", "correlationid": "a", "traceparent": otherParent},
		},
		"options alone":          {options: map[string]string{"user": "bob"}, want: map[string]string{"user": "bob"}},
		"a trace that is none":   {context: map[string]string{"traceparent": "00-zz"}},
		"a state without parent": {context: map[string]string{"tracestate": "a=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := eventstore.WithMetadata(t.Context(), row.context)
			if _, err := c.Execute(ctx, name, Pay{Amount: 1}, &service.CommandOptions{Metadata: row.options}); err != nil {
				t.Fatal(err)
			}
			if got := h.metadataOf(t, name); !maps.Equal(got, row.want) {
				t.Errorf("the commit has %q, want %q", got, row.want)
			}
			if _, err := service.Ask[int](ctx, c, Totals{}, &service.AskOptions{Metadata: row.options}); err != nil {
				t.Fatal(err)
			}
			if got := <-asked; !maps.Equal(got, row.want) {
				t.Errorf("the query has %q, want %q", got, row.want)
			}
			if got := eventstore.Metadata(ctx); !maps.Equal(got, row.context) {
				t.Errorf("the context has %q now", got)
			}
		})
	}
	for name, value := range map[string]string{"too long": strings.Repeat("x", 1025), "two lines": "a\r\nb"} {
		ctx := eventstore.WithMetadata(t.Context(), map[string]string{eventstore.User: value})
		if _, err := c.Execute(ctx, "front", Pay{Amount: 1}, nil); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A command that a handler sends because of an event says so, however long the names
// are.
func TestCausedCommands(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	c := h.client(t, nil)
	sent := make(chan error, 1)
	double := projection.NewEffects(projection.NewMemory[int](nil, nil))
	p, err := projection.New("double", h.store, double, projection.From("till", tillCodec,
		projection.On(func(ctx context.Context, _ struct{}, e Paid, at projection.Event) error {
			if at.Stream.ID == "back" {
				return nil
			}
			_, err := c.Execute(ctx, "back", Pay{Amount: 2 * e.Amount}, &service.CommandOptions{CommandID: at.CommandID("")})
			sent <- err
			return err
		})), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	for _, row := range []struct {
		till, command string
		said          map[string]string
	}{
		{"front", "pay-1", nil},
		{"side", "pay-1", map[string]string{"correlationid": "request-7", "user": "ann", "traceparent": parent}},
		{strings.Repeat("x", 200), strings.Repeat("ж", 127), nil},
	} {
		if _, err := c.Execute(t.Context(), row.till, Pay{Amount: 1}, &service.CommandOptions{CommandID: row.command, Metadata: row.said}); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		id := "till/" + row.till + "/" + row.command
		want := map[string]string{"causationid": id, "correlationid": id}
		maps.Copy(want, row.said)
		if got := h.metadataOf(t, "back"); !maps.Equal(got, want) {
			t.Errorf("because of %s: %q", id, got)
		}
	}
}

// A command for a version is executed on that version only, and is answered again.
func TestCommandForVersion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil)
	c := h.client(t, nil)
	if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); err != nil {
		t.Fatal(err)
	}
	for i, replayed := range []bool{false, true} {
		at, err := c.Execute(t.Context(), "front", Pay{Amount: 2}, &service.CommandOptions{CommandID: "x", Version: 1})
		if err != nil || at.Version != 2 || at.Replayed != replayed {
			t.Errorf("attempt %d: %+v, %v", i, at, err)
		}
	}
	for _, version := range []uint64{1, 3} {
		_, err := c.Execute(t.Context(), "front", Pay{Amount: 2}, &service.CommandOptions{Version: version})
		var conflict *eventstore.ConflictError
		want := eventstore.ConflictError{Stream: eventstore.StreamID{Kind: "till", ID: "front"}, Expected: eventstore.Version(version), Actual: 2}
		if !errors.As(err, &conflict) || *conflict != want {
			t.Errorf("version %d: %v", version, err)
		}
	}
	h.want(t, "front", 3, 2)

	answer := h.raw(t, "cash.command.till.pay", `{"Amount":1}`, nats.Header{"Hw-Aggregate-Id": {"front"}, "Hw-Version": {"1"}})
	if want := `{"error":"conflict","message":"stream till/front: conflict: expected version 1, but the stream is at version 2; read it again and decide again","stream":{"kind":"till","id":"front"},"version":1,"actual":2}`; string(answer.Data) != want {
		t.Errorf("got %s", answer.Data)
	}
	for _, values := range [][]string{{"0"}, {"-1"}, {"+1"}, {"1.0"}, {"two"}, {"18446744073709551616"}, {"2", "2"}} {
		answer := h.raw(t, "cash.command.till.pay", `{"Amount":1}`, nats.Header{"Hw-Aggregate-Id": {"front"}, "Hw-Version": values})
		if code := answer.Header.Get("Nats-Service-Error-Code"); code != "400" || !strings.Contains(string(answer.Data), "Hw-Version") {
			t.Errorf("%q: %s", values, answer.Data)
		}
	}
	h.want(t, "front", 3, 2)
	if got := fmt.Sprint(h.metadataOf(t, "front")); got != "map[]" {
		t.Errorf("stored %s", got)
	}
}
