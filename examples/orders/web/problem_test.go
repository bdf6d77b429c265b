package web_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/examples/orders/web"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
)

// What of Go could come into a detail.
var goTypes = regexp.MustCompile(`struct|int64|web\.|Marshal|EOF`)

func TestProblems(t *testing.T) {
	t.Parallel()
	s := newShop(t, web.Config{})
	s.place(t, "1")
	s.place(t, "gone")
	s.do(t, "POST", "/orders/gone/cancel", "{}").order(t, http.StatusOK)
	line := func(fields string) string { return `{"customer":"A","lines":[{` + fields + `}]}` }
	for _, test := range []struct {
		method, path, body string
		header             []string
		status             int
		code, field        string
	}{
		{method: "GET", path: "/nowhere", status: 404, code: "not-found"},
		{method: "GET", path: "/orders/1/ship/now", status: 404, code: "not-found"},
		{method: "POST", path: "/nowhere", body: "{}", status: 404, code: "not-found"},
		{method: "DELETE", path: "/orders/1", status: 405, code: "method-not-allowed"},
		{method: "PUT", path: "/orders", body: goods, status: 405, code: "method-not-allowed"},
		{method: "GET", path: "/orders/1/ship", status: 405, code: "method-not-allowed"},
		{method: "POST", path: "/", body: "{}", status: 405, code: "method-not-allowed"},
		{method: "POST", path: "/events", body: "{}", status: 405, code: "method-not-allowed"},

		{method: "GET", path: "/orders/2", status: 404, code: "not-found"},
		{method: "GET", path: "/orders/%00", status: 400, code: "bad-request", field: "id"},
		{method: "POST", path: "/orders/2/ship", body: "{}", status: 404, code: "not-found"},
		{method: "POST", path: "/orders/2/cancel", body: "{}", status: 404, code: "not-found"},
		{method: "POST", path: "/orders/" + strings.Repeat("x", 300) + "/ship", body: "{}", status: 400, code: "bad-request", field: "id"},
		{method: "POST", path: "/orders/2/cancel", body: "{}", header: []string{"If-Match", `"1"`}, status: 412, code: "version"},

		{method: "GET", path: "/orders?limit=x", status: 400, code: "bad-request", field: "limit"},
		{method: "GET", path: "/orders?limit=201", status: 400, code: "bad-request", field: "limit"},
		{method: "GET", path: "/orders?not-before=-1", status: 400, code: "bad-request", field: "not-before"},
		{method: "GET", path: "/events?after=x", status: 400, code: "bad-request", field: "after"},
		{method: "GET", path: "/events", header: []string{"Last-Event-ID", "1.0"}, status: 400, code: "bad-request", field: "Last-Event-ID"},

		{method: "POST", path: "/orders", status: 415, code: "unsupported-media-type"},
		{method: "POST", path: "/orders/1/ship", status: 415, code: "unsupported-media-type"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Content-Type", "text/plain"}, status: 415, code: "unsupported-media-type"},
		{method: "POST", path: "/orders", body: "customer=A", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: "unsupported-media-type"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Sec-Fetch-Site", "cross-site"}, status: 403, code: "cross-origin"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Origin", "https://example.com"}, status: 403, code: "cross-origin"},
		{method: "POST", path: "/orders", body: `{"customer":"` + strings.Repeat("x", web.MaxBody) + `"}`, status: 413, code: "too-large"},

		{method: "POST", path: "/orders/1/ship", header: []string{"Content-Type", "application/json"}, status: 400, code: "bad-request"},
		{method: "POST", path: "/orders", body: "{", status: 400, code: "bad-request"},
		{method: "POST", path: "/orders", body: "[]", status: 400, code: "bad-request"},
		{method: "POST", path: "/orders", body: goods + "{}", status: 400, code: "bad-request"},
		{method: "POST", path: "/orders", body: `{"customer":"` + "\xff" + `"}`, status: 400, code: "bad-request"},
		{method: "POST", path: "/orders", body: `{"costumer":"A"}`, status: 400, code: "bad-request", field: "costumer"},
		{method: "POST", path: "/orders", body: `{"customer":"A","customer":"B"}`, status: 400, code: "bad-request", field: "customer"},
		{method: "POST", path: "/orders", body: `{"customer":"A","Customer":"B"}`, status: 400, code: "bad-request", field: "Customer"},
		{method: "POST", path: "/orders", body: `{"customer":1}`, status: 400, code: "bad-request", field: "customer"},
		{method: "POST", path: "/orders", body: `{"id":"a/b","customer":"A"}`, status: 400, code: "bad-request", field: "id"},
		{method: "POST", path: "/orders", body: `{"id":".."}`, status: 400, code: "bad-request", field: "id"},
		{method: "POST", path: "/orders", body: `{"required":"soon"}`, status: 400, code: "bad-request", field: "required"},
		{method: "POST", path: "/orders", body: `{"required":"9999-12-31T23:59:59-14:00"}`, status: 400, code: "bad-request", field: "required"},
		{method: "POST", path: "/orders", body: `{"lines":{}}`, status: 400, code: "bad-request", field: "lines"},
		{method: "POST", path: "/orders", body: `{"lines":[1]}`, status: 400, code: "bad-request", field: "lines"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":18,"quantity":1`), status: 400, code: "bad-request", field: "lines.unitPrice"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1,50","quantity":1`), status: 400, code: "bad-request", field: "lines[0].unitPrice"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":1.5`), status: 400, code: "bad-request", field: "lines.quantity"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":1,"discount":"5%"`), status: 400, code: "bad-request", field: "lines[0].discount"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":1,"quantity":2`), status: 400, code: "bad-request", field: "lines[0].quantity"},
		{method: "POST", path: "/orders/1/cancel", body: `{"reason":null,"why":1}`, status: 400, code: "bad-request", field: "why"},
		{method: "POST", path: "/orders/1/ship", body: `{"force":true}`, status: 400, code: "bad-request", field: "force"},

		{method: "POST", path: "/orders", body: goods, header: []string{"Idempotency-Key", ""}, status: 400, code: "bad-request", field: "Idempotency-Key"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Idempotency-Key", `"a`}, status: 400, code: "bad-request", field: "Idempotency-Key"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Idempotency-Key", "ж"}, status: 400, code: "bad-request", field: "Idempotency-Key"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Idempotency-Key", strings.Repeat("x", 129)}, status: 400, code: "bad-request", field: "Idempotency-Key"},
		{method: "POST", path: "/orders", body: goods, header: []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, status: 400, code: "bad-request", field: "Idempotency-Key"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `"1", "3"`}, status: 400, code: "bad-request", field: "If-Match"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `"0"`}, status: 412, code: "version"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `W/"3"`}, status: 412, code: "version"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `3`}, status: 412, code: "version"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `"2"`}, status: 412, code: "version"},

		{method: "POST", path: "/orders", body: named("1"), status: 409, code: "already-placed"},
		{method: "POST", path: "/orders/1/ship", body: "{}", status: 409, code: "not-paid"},
		{method: "POST", path: "/orders/1/ship", body: "{}", header: []string{"If-Match", `"3"`}, status: 409, code: "not-paid"},
		{method: "POST", path: "/orders/gone/cancel", body: `{"reason":"again"}`, status: 409, code: "cancelled"},
		{method: "POST", path: "/orders", body: `null`, status: 422, code: "no-customer"},
		{method: "POST", path: "/orders", body: `{"customer":"A"}`, status: 422, code: "no-lines"},
		{method: "POST", path: "/orders", body: line(`"unitPrice":"1","quantity":1`), status: 422, code: "no-product"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"0.001","quantity":1`), status: 422, code: "price"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":0`), status: 422, code: "quantity"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":1,"discount":"1"`), status: 422, code: "discount"},
		{method: "POST", path: "/orders", body: line(`"product":"x","unitPrice":"1","quantity":9223372036854775807`), status: 422, code: "too-large"},
		{method: "POST", path: "/orders", body: line(`"product":"` + strings.Repeat("x", order.MaxText+1) + `","unitPrice":"1","quantity":1`), status: 422, code: "too-long"},
		{method: "POST", path: "/orders", body: `{"card":"visa","onAccount":true,` + goods[1:], status: 422, code: "card-on-account"},
	} {
		t.Run(test.method+" "+test.path+" "+test.body[:min(60, len(test.body))], func(t *testing.T) {
			a := s.do(t, test.method, test.path, test.body, test.header...)
			if p := a.problem(t, test.status, test.code); p.Field != test.field {
				t.Errorf("the field is %q, want %q: %s", p.Field, test.field, a.body)
			}
			if goTypes.MatchString(a.body) {
				t.Errorf("the answer is for programmers of Go: %s", a.body)
			}
			if allowed := a.header.Get("Allow"); (allowed != "") != (test.status == 405) {
				t.Errorf("allowed is %q", allowed)
			}
			if again := a.header.Get("Retry-After"); again != "" {
				t.Errorf("to be tried again after %s", again)
			}
		})
	}
	s.wantPosition(t, 3)
}

// What fails on the other side, and may be tried again.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	var said journal
	s := newShop(t, web.Config{Timeout: 500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	want := func(a answer, status int, code string) {
		t.Helper()
		p := a.problem(t, status, code)
		if again := a.header.Get("Retry-After"); (again != "1") != (code == "internal") {
			t.Errorf("%s: to be tried again after %q", code, again)
		}
		if status >= 500 && !strings.Contains(said.String(), p.Instance) {
			t.Errorf("the log does not tell of %s", p.Instance)
		}
	}
	s.place(t, "1")
	want(s.do(t, "GET", "/orders?not-before=99", ""), 503, "behind")
	s.stop()
	want(s.do(t, "GET", "/orders/1", ""), 503, "unavailable")
	want(s.do(t, "POST", "/orders", goods), 503, "unavailable")

	// Somebody takes the command and does not answer, or answers that it failed.
	nc := testutil.Connect(t, s.on)
	answers := make(chan string, 10)
	_, err := nc.Subscribe("shop.>", func(m *nats.Msg) {
		select {
		case text := <-answers:
			m.RespondMsg(&nats.Msg{Data: []byte(text), Header: nats.Header{"Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"500"}}})
		default:
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	silent := s.do(t, "POST", "/orders/1/cancel", "{}")
	want(silent, 504, "outcome-unknown")
	if silent.header.Get("Idempotency-Key") == "" {
		t.Error("there is no key to repeat it with")
	}
	answers <- `{"error":"internal","message":"a secret"}`
	failed := s.do(t, "POST", "/orders/1/cancel", "{}")
	want(failed, 500, "internal")
	if strings.Contains(failed.body, "secret") {
		t.Errorf("the answer says %s", failed.body)
	}
	answers <- `{"error":"conflict","message":"x","stream":{"kind":"order","id":"1"},"version":3,"actual":4}`
	want(s.do(t, "POST", "/orders/1/cancel", "{}"), 409, "conflict")
}

// A journal is what a logger wrote.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// The codes that the package's doc lists are those that there are.
func TestCodes(t *testing.T) {
	t.Parallel()
	codes := web.Codes()
	for _, code := range codes {
		if !slices.ContainsFunc(documented(t), func(line string) bool { return strings.HasPrefix(line, "//\t"+code+" ") }) {
			t.Errorf("%s is not in the package's doc", code)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, body := range []string{goods, named("1"), `null`, `{"lines":[{}]}`, `{"customer":"A","customer":"B"}`, `[[[`, `{"a":{"b":[1,{"b":2}]}}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := web.Parse(body); err != nil && !strings.HasPrefix(err.Error(), "bad-request: ") {
			t.Errorf("%q: %v", body, err)
		}
	})
}
