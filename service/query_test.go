package service_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/nats-io/nats.go"
)

// totals answers with an error, or the number of letters in the till's name.
func totals(err error) func(context.Context, Totals) (int, error) {
	return func(_ context.Context, q Totals) (int, error) { return len(q.Till), err }
}

// A book is a read model: what is in each till.
type book map[string]int

func newBook(t *testing.T, h house) (*projection.Projection[*book], func(context.Context, Totals) (int, error)) {
	t.Helper()
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "models"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	memory := projection.NewMemory(file, func() book { return book{} })
	p, err := projection.New("book", h.store, memory, projection.From("till", tillCodec,
		projection.On(func(_ context.Context, b *book, paid Paid, e projection.Event) error {
			(*b)[e.Stream.ID] += paid.Amount
			return nil
		}),
	), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, func(ctx context.Context, q Totals) (total int, err error) {
		err = memory.View(ctx, "book", func(b *book) error {
			total = (*b)[q.Till]
			return nil
		})
		return total, err
	}
}

// Who executes a command reads it, whatever the projection does meanwhile.
func TestQueryReadsOwnWrites(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p, answer := newBook(t, h)
	h.respond(t, nil, service.Query(answer, &service.QueryOptions{Wait: p.Wait}))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	c := h.client(t, nil)
	for i := range 20 {
		at, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			at = eventstore.Revision{Position: at.Position} // all that an HTTP client may have
		}
		if total, err := service.Ask[int](t.Context(), c, Totals{"front"}, &service.AskOptions{NotBefore: at}); err != nil || total != i+1 {
			t.Errorf("after %d payments: %d, %v", i+1, total, err)
		}
	}
}

// A read model that does not come so far in time is behind.
func TestQueryBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p, answer := newBook(t, h) // it does not run
	h.respond(t, nil, service.Query(answer, &service.QueryOptions{Wait: p.Wait}))
	c := h.client(t, &service.ClientOptions{Timeout: 200 * time.Millisecond}) // so that it asks often, and of many answers one is heard
	at, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = service.Ask[int](ctx, c, Totals{"front"}, &service.AskOptions{NotBefore: at})
	var behind *projection.BehindError
	if !errors.As(err, &behind) || behind.Projection != "book" || behind.Wanted != at.Position || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	at := eventstore.Revision{Position: 7}
	parked := &projection.ParkedError{Projection: "book", Parked: projection.Parked{
		Stream: eventstore.StreamID{Kind: "till", ID: "front"}, Position: 5, Version: 2, Attempts: 8, Waiting: 3, Reason: "a secret",
	}}
	stopped := &projection.StoppedError{Projection: "book", Stream: parked.Stream, Position: 5, Version: 2, Attempts: 8, Err: errors.New("a secret")}
	for name, test := range map[string]struct {
		wait, answer error
		check        func(error) bool
	}{
		"parked": {parked, nil, func(err error) bool {
			var got *projection.ParkedError
			return errors.As(err, &got) && got.Projection == "book" && got.Stream == parked.Stream && got.Position == 5 && got.Version == 2 && got.Attempts == 8 && got.Waiting == 3
		}},
		"stopped": {stopped, nil, func(err error) bool {
			var got *projection.StoppedError
			return errors.As(err, &got) && got.Projection == "book" && got.Stream == parked.Stream && got.Position == 5 && got.Version == 2 && got.Attempts == 8
		}},
		"not found": {nil, fmt.Errorf("till 9: %w", service.ErrNotFound), func(err error) bool {
			var rule *service.Rejection
			return errors.Is(err, service.ErrNotFound) && errors.As(err, &rule) && rule.Code == "not-found"
		}},
		"a rule":      {nil, errShort, func(err error) bool { return errors.Is(err, errShort) }},
		"invalid":     {nil, &eventstore.InvalidError{What: "page", Reason: "is too large"}, func(err error) bool { return errors.Is(err, eventstore.ErrInvalid) }},
		"of no kind":  {nil, errors.New("a secret"), func(err error) bool { return errors.Is(err, service.ErrInternal) }},
		"unavailable": {nil, eventstore.ErrUnavailable, func(err error) bool { return errors.Is(err, eventstore.ErrUnavailable) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.respond(t, nil, service.Query(totals(test.answer), &service.QueryOptions{
				Wait: func(context.Context, eventstore.Revision) error { return test.wait },
			}))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := service.Ask[int](ctx, h.client(t, nil), Totals{}, &service.AskOptions{NotBefore: at})
			if !test.check(err) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
	h.respond(t, nil, service.Query(totals(nil), nil))
	if _, err := service.Ask[int](t.Context(), h.client(t, nil), Totals{}, &service.AskOptions{NotBefore: at}); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("a query that does not wait: %v", err)
	}
	if _, err := service.Ask[[]string](t.Context(), h.client(t, nil), Totals{}, nil); !errors.Is(err, service.ErrInternal) {
		t.Errorf("an answer of another type: %v", err)
	}
}

func TestQueryLargeAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil, service.Query(func(_ context.Context, q Totals) (any, error) {
		if q.Till == "NaN" {
			return math.NaN(), nil
		}
		return strings.Repeat("x", 2<<20), nil
	}, nil))
	c := h.client(t, nil)
	if _, err := service.Ask[string](t.Context(), c, Totals{}, nil); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	if _, err := service.Ask[string](t.Context(), c, Totals{"NaN"}, nil); !errors.Is(err, service.ErrInternal) {
		t.Errorf("an answer without a JSON form: %v", err)
	}
	if _, err := service.Ask[string](t.Context(), c, Totals{strings.Repeat("x", 2<<20)}, nil); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("a large query: %v", err)
	}
	if _, err := service.Ask[string](t.Context(), c, Totals{strings.Repeat("x", 300<<10)}, nil); !errors.Is(err, eventstore.ErrTooLarge) {
		t.Errorf("a query over the service's limit: %v", err)
	}
}

func TestQueryNotBeforeIsChecked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, nil, service.Query(totals(nil), &service.QueryOptions{
		Wait: func(context.Context, eventstore.Revision) error { return nil },
	}))
	for _, value := range []string{"soon", "-1", "1.5", "AQ", "AQAB", strings.Repeat("A", 5000), "18446744073709551616"} {
		answer := h.raw(t, "cash.query.ask.totals", `{"Till":""}`, nats.Header{"Hw-Not-Before": {value}})
		if answer.Header.Get("Nats-Service-Error-Code") != "400" || len(answer.Data) > 2000 {
			t.Errorf("%s: %v %s", value, answer.Header, answer.Data)
		}
	}
}

// The log does not take the queries to a service of the same name for commits.
func TestQueriesBesideTheLog(t *testing.T) {
	t.Parallel()
	svc := startService(t, service.Config{Service: "cash", Log: "cash"}, on(newHouse(t)))
	name := svc.Config().Service
	r, err := service.Respond(t.Context(), svc.Conn(), name, []service.Endpoint{
		service.Query(func(context.Context, Totals) (int, error) { return 5, nil }, nil),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	svc.OnStop(r.Stop)
	c, err := service.NewClient(svc.Conn(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := service.Ask[int](t.Context(), c, Totals{}, nil); got != 5 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if at, err := svc.Log().Position(t.Context()); at != 0 || err != nil {
		t.Errorf("the log ends at %d, %v", at, err)
	}
}
