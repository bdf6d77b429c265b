package web

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/service"
)

// place places an order.
func (f *Front) place(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(w, r)
	if err != nil {
		return err
	}
	var body placing
	if err := decode(w, r, &body); err != nil {
		return err
	}
	c, err := body.command()
	if err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = idOf(key)
	}
	if err := f.execute(r, body.ID, key, c, 0); err != nil {
		return err
	}
	w.Header().Set("Location", "/orders/"+url.PathEscape(body.ID))
	return f.answer(w, r, body.ID, http.StatusCreated)
}

// cancel cancels an order.
func (f *Front) cancel(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Reason string `json:"reason"`
	}
	return f.change(w, r, &body, func() command { return order.Cancel{Reason: body.Reason} })
}

// ship ships an order.
func (f *Front) ship(w http.ResponseWriter, r *http.Request) error {
	return f.change(w, r, &struct{}{}, func() command { return order.Ship{} })
}

// change executes a command on the order that a request names, with its body.
func (f *Front) change(w http.ResponseWriter, r *http.Request, body any, c func() command) error {
	key, err := keyOf(w, r)
	if err != nil {
		return err
	}
	if err := decode(w, r, body); err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := f.execute(r, id, key, c(), version); err != nil {
		return err
	}
	return f.answer(w, r, id, http.StatusOK)
}

// execute has a command executed on an order, on a version of it unless that is 0.
func (f *Front) execute(r *http.Request, id, key string, c command, version uint64) error {
	at, err := f.config.Orders.Execute(r.Context(), id, c, &service.CommandOptions{CommandID: commandID(key), Version: version})
	var conflict *eventstore.ConflictError
	switch {
	case version > 0 && errors.As(err, &conflict):
		p := newProblem("version", "the order has changed: look at it again, and decide again")
		p.Version = conflict.Actual
		return p
	case err != nil || !at.Replayed:
		return err
	}
	meant, err := f.meant(r.Context(), id, c, at)
	if err == nil && !meant {
		err = newProblem("key-reused", "this order has another request with this Idempotency-Key")
	}
	return err
}

// answer answers with an order as it is now.
func (f *Front) answer(w http.ResponseWriter, r *http.Request, id string, status int) error {
	o, err := service.Ask[order.Summary](r.Context(), f.config.Orders, order.Find{ID: id}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", etag(o.Version))
	writeJSON(w, "application/json", status, o)
	return nil
}

// find answers with an order, unless the client has it already.
func (f *Front) find(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	o, err := service.Ask[order.Summary](r.Context(), f.config.Orders, order.Find{ID: id}, nil)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", etag(o.Version))
	if noneMatch(r, o.Version) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writeJSON(w, "application/json", http.StatusOK, o)
	return nil
}

// list answers with the orders that were placed last.
func (f *Front) list(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit", order.DefaultLimit, order.MaxLimit)
	if err != nil {
		return err
	}
	position, err := number(r, "not-before", 0, 1<<63)
	if err != nil {
		return err
	}
	listed, err := service.Ask[order.Listed](r.Context(), f.config.Orders, order.List{Limit: int(limit)}, &service.AskOptions{
		NotBefore: eventstore.Revision{Position: position},
	})
	if err != nil {
		return err
	}
	if listed.Orders == nil {
		listed.Orders = []order.Summary{}
	}
	writeJSON(w, "application/json", http.StatusOK, listed)
	return nil
}

// number returns a number that a request's address has, or a default.
func number(r *http.Request, name string, otherwise, most uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, wrongField(name, "must be a number up to "+strconv.FormatUint(most, 10))
	}
	return n, nil
}

func etag(version uint64) string { return strconv.Quote(strconv.FormatUint(version, 10)) }

var (
	etagForm  = regexp.MustCompile(`^"([1-9][0-9]{0,18})"$`)
	etagsForm = regexp.MustCompile(`(W/)?("[^"]*")`)
)

// ifMatch returns the version that a request is about, 0 for any.
func ifMatch(r *http.Request) (uint64, error) {
	switch text := r.Header.Get("If-Match"); text {
	case "", "*": // an order that is not there is not found anyway
		return 0, nil
	default:
		if len(etagsForm.FindAllString(text, 2)) > 1 {
			return 0, wrongField("If-Match", "name one version")
		}
		parts := etagForm.FindStringSubmatch(text)
		if parts == nil { // also "0", which would mean any to the service
			return 0, newProblem("version", "no order has this version: send the ETag of the order, with its quotes")
		}
		return strconv.ParseUint(parts[1], 10, 64)
	}
}

// noneMatch reports whether the client has this version of an order.
func noneMatch(r *http.Request, version uint64) bool {
	text := r.Header.Get("If-None-Match")
	if text == "*" {
		return true
	}
	for _, parts := range etagsForm.FindAllStringSubmatch(text, -1) {
		if parts[2] == etag(version) {
			return true
		}
	}
	return false
}
