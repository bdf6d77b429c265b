package web_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
)

func TestPlaceAndFind(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	placed := s.do(t, "POST", "/orders", named("1001"))
	o := placed.order(t, http.StatusCreated)
	if want := (order.Summary{ID: "1001", Customer: "ALFKI", Stage: "placed", Amount: 58_0875, Version: 3, Position: 1}); o != want {
		t.Errorf("placed %+v, want %+v", o, want)
	}
	if h := placed.header; h.Get("Location") != "/orders/1001" || h.Get("ETag") != `"3"` || h.Get("Idempotency-Key") == "" {
		t.Errorf("the header is %v", h)
	}
	found := s.do(t, "GET", placed.header.Get("Location"), "")
	if got := found.order(t, http.StatusOK); got != o || found.header.Get("ETag") != `"3"` {
		t.Errorf("found %+v", got)
	}
	for _, tag := range []string{`"3"`, `W/"3"`, `"1", "3"`, `*`} {
		if same := s.do(t, "GET", "/orders/1001", "", "If-None-Match", tag); same.status != http.StatusNotModified || same.body != "" || same.header.Get("ETag") != `"3"` {
			t.Errorf("%s: %+v", tag, same)
		}
	}
	s.pay(t, "1001")
	if changed := s.do(t, "GET", "/orders/1001", "", "If-None-Match", `"3"`); changed.order(t, http.StatusOK).Stage != "paid" || changed.header.Get("ETag") != `"4"` {
		t.Errorf("after the payment %+v", changed)
	}
	shipped := s.do(t, "POST", "/orders/1001/ship", "{}", "If-Match", `"4"`)
	if o := shipped.order(t, http.StatusOK); o.Stage != "shipped" || o.Position != 3 || shipped.header.Get("ETag") != `"5"` {
		t.Errorf("shipped %+v", shipped)
	}
	s.place(t, "1002")
	if o := s.do(t, "POST", "/orders/1002/cancel", `{"reason":"late"}`).order(t, http.StatusOK); o.Stage != "cancelled" || o.Reason != "late" {
		t.Errorf("cancelled %+v", o)
	}
}

// What was written is in the list, when its position is given.
func TestList(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{Timeout: patience})
	var listed order.Listed
	if a := s.do(t, "GET", "/orders", ""); a.body != `{"orders":[],"position":0}`+"\n" {
		t.Errorf("an empty list is %s", a.body)
	}
	for n := range 3 {
		o := s.place(t, strconv.Itoa(n))
		s.do(t, "GET", fmt.Sprintf("/orders?limit=2&not-before=%d", o.Position), "").read(t, &listed)
		if listed.Position < o.Position || len(listed.Orders) != min(2, n+1) || listed.Orders[0] != o {
			t.Errorf("after %+v the list is %+v", o, listed)
		}
	}
}

// A request with a key changes the order once, and all its answers are good.
func TestRepeated(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	var ids sync.Map
	var all sync.WaitGroup
	for n := range 10 {
		key := []string{`"place 1"`, `"place 1"`}[n%2]
		all.Go(func() {
			o := s.do(t, "POST", "/orders", goods, "Idempotency-Key", key).order(t, http.StatusCreated)
			ids.Store(o.ID, true)
		})
	}
	all.Wait()
	var id string
	ids.Range(func(key, _ any) bool {
		if id != "" {
			t.Errorf("orders %s and %v have one key", id, key)
		}
		id = key.(string)
		return true
	})
	s.pay(t, id)
	for range 2 {
		if o := s.do(t, "POST", "/orders/"+id+"/ship", "{}", "Idempotency-Key", "ship-1", "If-Match", `"4"`).order(t, http.StatusOK); o.Version != 5 {
			t.Errorf("shipped: %+v", o)
		}
	}
	// Also when it is long ago.
	a := s.do(t, "POST", "/orders", goods, "Idempotency-Key", `"place 1"`)
	if o := a.order(t, http.StatusCreated); o.Version != 5 || a.header.Get("ETag") != `"5"` || a.header.Get("Idempotency-Key") != `"place 1"` {
		t.Errorf("placed again: %+v", a)
	}
	s.wantPosition(t, 3)
}

func (s *shop) wantPosition(t *testing.T, want uint64) {
	t.Helper()
	if at, err := s.log.Position(t.Context()); err != nil || at != want {
		t.Errorf("the log is at %d, %v; want %d", at, err, want)
	}
}

// Quotes around a key are not part of it, and a request is the same if it means the
// same.
func TestSameRequest(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	first := s.do(t, "POST", "/orders", goods, "Idempotency-Key", "k-1").order(t, http.StatusCreated)
	for _, body := range []string{
		goods,
		strings.ReplaceAll(goods, ":", " : "),
		`{"lines":` + strings.TrimSuffix(strings.SplitN(goods, `"lines":`, 2)[1], "}") + `,"customer":"ALFKI","card":""}`,
		strings.Replace(goods, "18.00", "18", 1),
		`{"id":"` + first.ID + `",` + goods[1:],
	} {
		if o := s.do(t, "POST", "/orders", body, "Idempotency-Key", `"k-1"`).order(t, http.StatusCreated); o != first {
			t.Errorf("%s is another order: %+v", body, o)
		}
	}
	s.wantPosition(t, 1)
}

// A key that was used for another request is refused, also if both come together.
func TestKeyReused(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	id := s.do(t, "POST", "/orders", goods, "Idempotency-Key", "k-1").order(t, http.StatusCreated).ID
	s.pay(t, id)
	s.do(t, "POST", "/orders/"+id+"/cancel", `{"reason":"late"}`, "Idempotency-Key", "k-2").order(t, http.StatusOK)
	for _, test := range []struct{ path, body, key string }{
		{"/orders", strings.Replace(goods, "ALFKI", "ANATR", 1), "k-1"},
		{"/orders", strings.Replace(goods, "Chai", "Chang", 1), "k-1"},
		{"/orders", `{"card":"visa",` + goods[1:], "k-1"},
		{"/orders", `{"customer":"","lines":[]}`, "k-1"},
		{"/orders/" + id + "/cancel", `{}`, "k-1"},
		{"/orders/" + id + "/cancel", `{"reason":"early"}`, "k-2"},
		{"/orders/" + id + "/ship", `{}`, "k-2"},
	} {
		s.do(t, "POST", test.path, test.body, "Idempotency-Key", test.key).problem(t, http.StatusUnprocessableEntity, "key-reused")
	}
	s.wantPosition(t, 3)

	var all sync.WaitGroup
	answers := make(chan answer, 8)
	for n := range 8 {
		body := strings.Replace(goods, "ALFKI", fmt.Sprint("C", n), 1)
		all.Go(func() { answers <- s.do(t, "POST", "/orders", body, "Idempotency-Key", "k-3") })
	}
	all.Wait()
	placed := 0
	for range 8 {
		if a := <-answers; a.status == http.StatusCreated {
			placed++
		} else {
			a.problem(t, http.StatusUnprocessableEntity, "key-reused")
		}
	}
	if placed != 1 {
		t.Errorf("%d requests with one key are granted", placed)
	}
	s.wantPosition(t, 4)
}

// A key is free as long as nothing was done with it.
func TestKeyOfRefused(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	id := s.do(t, "POST", "/orders", goods, "Idempotency-Key", "k-1").order(t, http.StatusCreated).ID
	s.do(t, "POST", "/orders/"+id+"/ship", "{}", "Idempotency-Key", "k-2").problem(t, http.StatusConflict, "not-paid")
	s.do(t, "POST", "/orders/"+id+"/ship", "{}", "Idempotency-Key", "k-2", "If-Match", `"2"`).problem(t, http.StatusPreconditionFailed, "version")
	s.pay(t, id)
	if o := s.do(t, "POST", "/orders/"+id+"/ship", "{}", "Idempotency-Key", "k-2").order(t, http.StatusOK); o.Stage != "shipped" {
		t.Errorf("shipped: %+v", o)
	}
}

// A key is no way to choose the id of a command of others.
func TestKeyIsNotTheCommandID(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.do(t, "POST", "/orders", named("1"), "Idempotency-Key", "k-1").order(t, http.StatusCreated)
	for e, err := range s.log.Read(t.Context(), eventstore.StreamID{Kind: order.Kind, ID: "1"}, nil) {
		if err != nil || e.CommitID != "http-k-1" {
			t.Fatalf("the commit is %q, %v", e.CommitID, err)
		}
	}
}

// Of those who change the same version one does.
func TestIfMatchRace(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "1")
	s.pay(t, "1")
	answers := make(chan answer, 8)
	var all sync.WaitGroup
	for n := range 8 {
		path, body := "/orders/1/ship", "{}"
		if n%2 == 0 {
			path, body = "/orders/1/cancel", fmt.Sprintf(`{"reason":"%d"}`, n)
		}
		all.Go(func() { answers <- s.do(t, "POST", path, body, "If-Match", `"4"`) })
	}
	all.Wait()
	granted := 0
	for range 8 {
		if a := <-answers; a.status == http.StatusOK {
			granted++
		} else if p := a.problem(t, http.StatusPreconditionFailed, "version"); p.Version != 5 {
			t.Errorf("the order has version %d now: %s", p.Version, a.body)
		}
	}
	if granted != 1 {
		t.Errorf("%d are granted", granted)
	}
	s.wantPosition(t, 3)
}
