package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/service"
)

// problem is an error as it is answered.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
	Code     string `json:"code"`
	Field    string `json:"field,omitempty"`
	Version  uint64 `json:"version,omitempty"` // that the order has
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// problems are the codes that are not those of the order's rules.
var problems = map[string]struct {
	status int
	title  string
}{
	"bad-request":            {http.StatusBadRequest, "The request cannot be understood"},
	"cross-origin":           {http.StatusForbidden, "The request comes from another site"},
	"not-found":              {http.StatusNotFound, "There is no such thing"},
	"method-not-allowed":     {http.StatusMethodNotAllowed, "The address has no such method"},
	"conflict":               {http.StatusConflict, "Others changed the order at the same time"},
	"version":                {http.StatusPreconditionFailed, "The order has another version"},
	"too-large":              {http.StatusRequestEntityTooLarge, "The request is too large"},
	"unsupported-media-type": {http.StatusUnsupportedMediaType, "The body is not JSON"},
	"key-reused":             {http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request"},
	"internal":               {http.StatusInternalServerError, "The service failed"},
	"unavailable":            {http.StatusServiceUnavailable, "The service is not available"},
	"behind":                 {http.StatusServiceUnavailable, "The list is not up to date yet"},
	"outcome-unknown":        {http.StatusGatewayTimeout, "It is not known whether this was done"},
}

// newProblem returns the problem of a code that problems has.
func newProblem(code, detail string) *problem {
	kind := problems[code]
	return &problem{Type: typeOf(code), Title: kind.title, Status: kind.status, Code: code, Detail: detail}
}

func wrongField(field, detail string) *problem {
	p := newProblem("bad-request", detail)
	p.Field = field
	return p
}

func typeOf(code string) string { return "urn:headwater:orders:" + code }

// fail answers with an error. What it does not say goes to the log, under its
// instance.
func (f *Front) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := *problemOf(err)
	p.Instance = "urn:uuid:" + uuid.NewString()
	level := slog.LevelDebug
	if p.Status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	f.config.Logger.Log(r.Context(), level, "a request failed", "instance", p.Instance, "method", r.Method, "path", r.URL.Path, "status", p.Status, "error", err)
	if again(p.Code) {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Del("ETag")
	writeJSON(w, "application/problem+json", p.Status, p)
}

// again reports whether the same request makes sense again, as it is.
func again(code string) bool {
	switch code {
	case "conflict", "unavailable", "behind", "outcome-unknown":
		return true
	}
	return false
}

func writeJSON(w http.ResponseWriter, mediaType string, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // every body here has a JSON form
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	w.Write(append(data, '\n')) // an error means that the client is gone
}

// problemOf returns the problem that an error is.
func problemOf(err error) *problem {
	var own *problem
	var rule *service.Rejection
	var conflict *eventstore.ConflictError
	var invalid *eventstore.InvalidError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &rule):
		return refused(err, rule)
	case errors.As(err, &conflict):
		p := newProblem("conflict", "others changed the order at the same time; try again")
		p.Version = conflict.Actual
		return p
	case errors.As(err, &invalid):
		return unfit(invalid)
	case errors.Is(err, eventstore.ErrTooLarge):
		return newProblem("too-large", "it does not fit into a message")
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		return newProblem("outcome-unknown", "no answer came in time; it is safe to repeat the request with the same Idempotency-Key, and it is then done once")
	case errors.Is(err, projection.ErrBehind), errors.Is(err, projection.ErrParked), errors.Is(err, projection.ErrStopped):
		return newProblem("behind", "the list does not have that position yet")
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem("unavailable", "the service did not answer in time; try again, with the same Idempotency-Key if there is one")
	}
	return newProblem("internal", "the log of the service says why; it is safe to repeat the request with the same Idempotency-Key")
}

// refused returns the problem of a rule that refuses a request.
func refused(err error, rule *service.Rejection) *problem {
	if errors.Is(err, order.ErrNotPlaced) || errors.Is(err, service.ErrNotFound) {
		return newProblem("not-found", "there is no such order")
	}
	code := cmp.Or(rule.Code, "refused")
	p := &problem{Type: typeOf(code), Code: code, Title: "A rule of orders refuses this", Detail: rule.Message, Status: http.StatusConflict}
	for _, wrong := range contents {
		if errors.Is(err, wrong) {
			p.Status = http.StatusUnprocessableEntity
		}
	}
	var stored *aggregate.RejectedError
	if errors.As(err, &stored) {
		p.Version = stored.Version
	}
	return p
}

// contents are the rules about what a request says. It can never be granted, whatever
// the order's state is.
var contents = []error{
	order.ErrNoCustomer, order.ErrNoLines, order.ErrNoProduct, order.ErrNothingToPay, order.ErrCardOnAccount,
	order.ErrPrice, order.ErrQuantity, order.ErrDiscount, order.ErrTooLong, order.ErrTooLarge,
}

// unfit returns the problem of what the engine cannot take.
func unfit(err *eventstore.InvalidError) *problem {
	switch {
	case err.What == "stream id", strings.HasPrefix(err.What, "header Hw-Aggregate-Id"):
		return wrongField("id", "no order can have this id")
	case err.What == "commit id", strings.HasPrefix(err.What, "header Hw-Command-Id"):
		return wrongField(keyHeader, "no key can be like this")
	}
	return newProblem("bad-request", err.Error())
}
