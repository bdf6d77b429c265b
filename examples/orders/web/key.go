package web

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/service"
)

// command is one that the front sends.
type command interface {
	service.Typed
	Decide(order.Order) ([]order.Event, error)
}

const keyHeader = "Idempotency-Key"

// A key is a string as in RFC 9651, or the same without the quotes, as many clients
// send it.
var keyForm = regexp.MustCompile(`^(?:"((?:[ !#-\[\]-~]|\\["\\]){1,128})"|([!#-\[\]-~]{1,128}))$`)

// keyOf returns the idempotency key of a request, or a new one, and notes it in the
// answer.
func keyOf(w http.ResponseWriter, r *http.Request) (string, error) {
	values := r.Header[keyHeader]
	if len(values) == 0 {
		values = []string{uuid.NewString()}
	}
	parts := keyForm.FindStringSubmatch(values[0])
	if len(values) > 1 || parts == nil {
		return "", wrongField(keyHeader, `must be one text of 1 to 128 characters, as in "8e03978e-40d5-43dd-bc93-6894a57f9324"`)
	}
	w.Header().Set(keyHeader, values[0])
	if parts[2] != "" {
		return parts[2], nil
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(parts[1]), nil
}

// commandID returns the id of the command that a request with a key is. It is not the
// key itself: nobody outside can choose the id of a command that others will send.
func commandID(key string) string { return "http-" + key }

// idOf returns the id of the order that a request with a key places.
func idOf(key string) string { return uuid.NewSHA1(orderIDs, []byte(key)).String() }

// orderIDs is the name space of the ids that follow from keys.
var orderIDs = uuid.MustParse("3b6b4c1e-8a35-4f0e-9c53-2f0a4d5a9f77")

// meant reports whether a command is the one that led to a commit: whether it decides
// the same events, on the order as it was before.
func (f *Front) meant(ctx context.Context, id string, c command, commit eventstore.Revision) (bool, error) {
	var before order.Order
	var stored []order.Event
	stream := eventstore.StreamID{Kind: order.Kind, ID: id}
	for e, err := range f.config.Log.Read(ctx, stream, &eventstore.ReadOptions{To: commit.Version}) {
		if err != nil {
			return false, err
		}
		event, err := order.Codec.Decode(e)
		switch {
		case err != nil:
			return false, err
		case e.CommitID == commit.CommitID:
			stored = append(stored, event)
		default:
			before = before.Evolve(event)
		}
	}
	events, err := c.Decide(before)
	return err == nil && same(events, stored), nil
}

// same reports whether events have the same stored form.
func same(a, b []order.Event) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, wrongX := order.Codec.Encode(a[i])
		y, wrongY := order.Codec.Encode(b[i])
		if wrongX != nil || wrongY != nil || x.Type != y.Type || !bytes.Equal(x.Data, y.Data) {
			return false
		}
	}
	return true
}
