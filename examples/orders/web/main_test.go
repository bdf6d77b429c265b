package web_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A shop is a service of orders with a front, on a server of its own.
type shop struct {
	on     testutil.Connector
	log    *eventstore.Store
	orders *aggregate.Repository[order.Order, order.Event]
	front  *web.Front
	conn   *nats.Conn // of the front
	server *httptest.Server
	stop   func() // stops the service behind the front
}

func newShop(t *testing.T, config web.Config) *shop {
	t.Helper()
	on := testutil.Server(t)
	s := &shop{on: on, log: testutil.Open(t, on, &eventstore.Options{Live: true}), conn: testutil.Connect(t, on)}
	s.orders = aggregate.NewRepository[order.Order](s.log, order.Kind, order.Codec, nil)
	responder, err := service.Respond(t.Context(), testutil.Connect(t, on), "shop", []service.Endpoint{
		service.Handle[order.Place](s.orders, nil),
		service.Handle[order.Cancel](s.orders, nil),
		service.Handle[order.Ship](s.orders, nil),
		service.Query(s.find, nil),
		service.Query(s.list, &service.QueryOptions{Wait: s.wait}),
	}, &service.RespondOptions{Errors: order.Errors})
	if err != nil {
		t.Fatal(err)
	}
	s.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := responder.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(s.stop)
	config.Log, config.Conn = s.log, s.conn
	if config.Orders, err = service.NewClient(testutil.Connect(t, on), "shop", &service.ClientOptions{Errors: order.Errors}); err != nil {
		t.Fatal(err)
	}
	s.front = web.New(config)
	s.server = httptest.NewUnstartedServer(s.front)
	s.server.Config = web.Server(s.front)
	s.server.Start()
	t.Cleanup(func() {
		s.front.Close()
		s.server.Close()
	})
	return s
}

func (s *shop) find(ctx context.Context, q order.Find) (order.Summary, error) {
	o, at, err := s.orders.Load(ctx, q.ID)
	switch {
	case err != nil:
		return order.Summary{}, err
	case !o.Placed:
		return order.Summary{}, service.ErrNotFound
	}
	return summary(q.ID, o, at.Version, at.Position)
}

func summary(id string, o order.Order, version, position uint64) (order.Summary, error) {
	_, net, err := o.Amounts()
	return order.Summary{ID: id, Customer: o.Customer, Stage: o.Stage(), Reason: o.Reason, Amount: net, Version: version, Position: position}, err
}

// list has no read model: the log is short.
func (s *shop) list(ctx context.Context, q order.List) (listed order.Listed, err error) {
	states, placed := map[string]order.Order{}, map[string]uint64{}
	found := map[string]order.Summary{}
	for e, err := range s.log.Log(ctx, 0, &eventstore.LogOptions{Kinds: []string{order.Kind}}) {
		if err != nil {
			return listed, err
		}
		event, err := order.Codec.Decode(e)
		if err != nil {
			return listed, err
		}
		id := e.Stream.ID
		states[id] = states[id].Evolve(event)
		placed[id] = cmp.Or(placed[id], e.Position)
		if found[id], err = summary(id, states[id], e.Version, e.Position); err != nil {
			return listed, err
		}
		listed.Position = e.Position
	}
	for _, o := range found {
		listed.Orders = append(listed.Orders, o)
	}
	slices.SortFunc(listed.Orders, func(a, b order.Summary) int { return cmp.Compare(placed[b.ID], placed[a.ID]) })
	listed.Orders = listed.Orders[:min(len(listed.Orders), q.Limit)]
	return listed, nil
}

func (s *shop) wait(ctx context.Context, at eventstore.Revision) error {
	if is, err := s.log.Position(ctx); err != nil || is < at.Position {
		return cmp.Or(err, error(&projection.BehindError{Projection: "list", Wanted: at.Position, At: is, Err: context.DeadlineExceeded}))
	}
	return nil
}

// pay does what payments do.
func (s *shop) pay(t *testing.T, id string) {
	t.Helper()
	if _, _, err := s.orders.Execute(t.Context(), id, order.Pay{}, nil); err != nil {
		t.Fatal(err)
	}
}

// An answer is one of the front.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. A body is JSON, unless the header says something else; of the
// header, an empty value is one that is not there.
func (s *shop) do(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
		if header[i] == "Content-Type" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	got, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(data)}
}

const goods = `{"customer":"ALFKI","lines":[{"product":"Chai","unitPrice":"18.00","quantity":2},{"product":"Tofu","unitPrice":"23.25","quantity":1,"discount":"0.05"}]}`

// named returns the body that places an order with an id.
func named(id string) string { return `{"id":"` + id + `",` + goods[1:] }

// place places an order and returns it.
func (s *shop) place(t *testing.T, id string) order.Summary {
	t.Helper()
	return s.do(t, "POST", "/orders", named(id)).order(t, http.StatusCreated)
}

// order returns the order that is the answer, which must have a status.
func (a answer) order(t *testing.T, status int) (o order.Summary) {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	a.read(t, &o)
	return o
}

func (a answer) read(t *testing.T, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

type problem struct {
	Type, Title, Detail, Instance, Code, Field string
	Status                                     int
	Version                                    uint64
}

// problem returns the problem that is the answer, which must have a status and code.
func (a answer) problem(t *testing.T, status int, code string) (p problem) {
	t.Helper()
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d, a %s, no problem: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	a.read(t, &p)
	if a.status != status || p.Status != status || p.Code != code {
		t.Errorf("status %d, want %d %s: %s", a.status, status, code, a.body)
	}
	if p.Title == "" || p.Detail == "" || p.Type != "urn:headwater:orders:"+p.Code || !strings.HasPrefix(p.Instance, "urn:uuid:") {
		t.Errorf("not all is said: %s", a.body)
	}
	return p
}
