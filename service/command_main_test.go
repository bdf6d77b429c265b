package service_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A till is what the tests' commands are about.
type tillEvent interface {
	eventstore.Typed
	isTillEvent()
}

type Paid struct{ Amount int }
type Taken struct{ Amount int }

func (Paid) EventType() string  { return "till.paid" }
func (Taken) EventType() string { return "till.taken" }
func (Paid) isTillEvent()       {}
func (Taken) isTillEvent()      {}

var tillCodec = eventstore.JSON[tillEvent](Paid{}, Taken{})

type Till struct{ Total, Payments int }

func (t Till) Evolve(e tillEvent) Till {
	switch e := e.(type) {
	case Paid:
		t.Total += e.Amount
		t.Payments++
	case Taken:
		t.Total -= e.Amount
	}
	return t
}

type Pay struct {
	Amount int
	Note   string `json:",omitempty"`
}

func (Pay) RequestType() string { return "till.pay" }

func (p Pay) Decide(Till) ([]tillEvent, error) { return []tillEvent{Paid{p.Amount}}, nil }

var (
	errShort  = errors.New("there is not that much in the till")
	errNoTill = errors.New("there is no such till")
)

var tillErrors = map[string]error{"short": errShort}

type Take struct{ Amount int }

func (Take) RequestType() string { return "till.take" }

func (c Take) Decide(t Till) ([]tillEvent, error) {
	switch {
	case t.Payments == 0:
		return nil, errors.Join(errNoTill, service.ErrNotFound)
	case t.Total < c.Amount:
		return nil, errShort
	}
	return []tillEvent{Taken(c)}, nil
}

// Trick is a command that decides as a test wants it, by a name that only that test
// has.
type Trick struct{ Name string }

func (Trick) RequestType() string { return "till.trick" }

var tricks sync.Map

func (c Trick) Decide(t Till) ([]tillEvent, error) {
	trick, _ := tricks.Load(c.Name)
	return trick.(func(Till) ([]tillEvent, error))(t)
}

func trick(t *testing.T, decide func(Till) ([]tillEvent, error)) Trick {
	name := t.Name()
	tricks.Store(name, decide)
	t.Cleanup(func() { tricks.Delete(name) })
	return Trick{name}
}

// Totals is a query.
type Totals struct{ Till string }

func (Totals) RequestType() string { return "totals" }

type tills = aggregate.Repository[Till, tillEvent]

// A house is a log with tills, on a server of its own.
type house struct {
	on    testutil.Connector
	store *eventstore.Store
	tills *tills
}

func newHouse(t *testing.T) house {
	t.Helper()
	on := testutil.Server(t)
	store := testutil.Open(t, on, nil)
	return house{on, store, aggregate.NewRepository[Till](store, "till", tillCodec, nil)}
}

// instance returns another instance of the service, with a connection and memory of
// its own.
func (h house) instance(t *testing.T, opts *service.RespondOptions) *service.Responder {
	t.Helper()
	store, err := eventstore.Open(t.Context(), testutil.Connect(t, h.on), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.tills = aggregate.NewRepository[Till](store, "till", tillCodec, nil)
	return h.respond(t, opts)
}

// respond answers the commands of tills, and more.
func (h house) respond(t *testing.T, opts *service.RespondOptions, more ...service.Endpoint) *service.Responder {
	t.Helper()
	if opts == nil {
		opts = &service.RespondOptions{}
	}
	opts.Errors = tillErrors
	r, err := service.Respond(t.Context(), testutil.Connect(t, h.on), "cash", append([]service.Endpoint{
		service.Handle[Pay](h.tills, &service.HandleOptions{State: true}),
		service.Handle[Take](h.tills, nil),
		service.Handle[Trick](h.tills, nil),
	}, more...), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopResponder(t, r) })
	return r
}

func stopResponder(t *testing.T, r *service.Responder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func (h house) client(t *testing.T, opts *service.ClientOptions) *service.Client {
	t.Helper()
	if opts == nil {
		opts = &service.ClientOptions{}
	}
	opts.Errors = tillErrors
	c, err := service.NewClient(testutil.Connect(t, h.on), "cash", opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// raw sends a request as any other client could.
func (h house) raw(t *testing.T, subject, body string, header nats.Header) *nats.Msg {
	t.Helper()
	nc, err := h.on.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(body), Header: header}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// want checks what is in a till.
func (h house) want(t *testing.T, id string, total, payments int) {
	t.Helper()
	got, _, err := h.tills.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Till{total, payments}); got != want {
		t.Errorf("till %s has %+v, want %+v", id, got, want)
	}
}
