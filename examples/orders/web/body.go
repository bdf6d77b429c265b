package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/examples/orders/order"
)

const maxBody = 64 << 10 // bytes

// placing is the body with which an order is placed. Amounts are texts here, so that
// what is wrong with one can be said with its place.
type placing struct {
	ID        string `json:"id"`
	Customer  string `json:"customer"`
	Required  string `json:"required"`
	OnAccount bool   `json:"onAccount"`
	Card      string `json:"card"`
	Lines     []struct {
		Product   string `json:"product"`
		UnitPrice string `json:"unitPrice"`
		Quantity  int64  `json:"quantity"`
		Discount  string `json:"discount"`
	} `json:"lines"`
}

// idForm is what ids look like that orders get from outside: they are in addresses.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$`)

// command returns the command that the body is.
func (b *placing) command() (c order.Place, err error) {
	c = order.Place{Customer: b.Customer, OnAccount: b.OnAccount, Card: b.Card}
	if b.ID != "" && !idForm.MatchString(b.ID) {
		return c, wrongField("id", "an id has up to 100 letters, digits, '.', '_', '~' and '-', and begins with a letter or digit")
	}
	if c.Required, err = parseDay(b.Required); err != nil {
		return c, wrongField("required", "must be a day, as in 2026-12-24, or a time as in RFC 3339")
	}
	for i, l := range b.Lines {
		item := order.Item{Product: l.Product, Quantity: l.Quantity}
		if item.UnitPrice, err = order.ParseMoney(l.UnitPrice); err != nil {
			return c, wrongField(fmt.Sprintf("lines[%d].unitPrice", i), `must be an amount, as in "18.00"`)
		}
		if l.Discount != "" {
			if item.Discount, err = order.ParseDiscount(l.Discount); err != nil {
				return c, wrongField(fmt.Sprintf("lines[%d].discount", i), `must be a part of 1 in whole percents, as in "0.05"`)
			}
		}
		c.Lines = append(c.Lines, item)
	}
	return c, nil
}

func parseDay(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if at = at.UTC(); err == nil && (at.Year() < 0 || at.Year() > 9999) {
		err = errors.New("a year that JSON cannot write")
	}
	return at, err
}

// decode reads the body of a request, strictly. The error is a problem.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	// A form of another site cannot send this type.
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		w.Header().Set("Accept-Post", "application/json")
		return newProblem("unsupported-media-type", "send the body with Content-Type: application/json")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return newProblem("too-large", fmt.Sprintf("a body may have %d bytes", maxBody))
	case err != nil:
		return newProblem("bad-request", "the body did not arrive whole")
	}
	return parse(data, into)
}

// parse reads one JSON value that has the fields of into and no others, each at most
// once.
func parse(data []byte, into any) error {
	if !utf8.Valid(data) {
		return newProblem("bad-request", "the body is not UTF-8")
	}
	text := string(data)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return wrongJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return newProblem("bad-request", "the body has more than one JSON value")
	}
	d = json.NewDecoder(strings.NewReader(text))
	return once(d, "")
}

// kinds are what the fields of bodies can be, in the words of JSON.
var kinds = map[reflect.Kind]string{
	reflect.Struct: "an object", reflect.Slice: "a list", reflect.String: "a text in quotes",
	reflect.Int64: "a whole number", reflect.Bool: "true or false",
}

func wrongJSON(err error) *problem {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return wrongField(kind.Field, fmt.Sprintf("must be %s, and is: %s", kinds[kind.Type.Kind()], kind.Value))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if plain, err := strconv.Unquote(name); err == nil {
			name = plain
		}
		return wrongField(name, "there is no such field")
	}
	switch err {
	case io.EOF:
		return newProblem("bad-request", "there is no body: send a JSON object, {} at least")
	case io.ErrUnexpectedEOF:
		return newProblem("bad-request", "the body is not JSON: it ends too soon")
	}
	return newProblem("bad-request", "the body is not JSON: "+err.Error())
}

// once checks that no object has a field twice, of which one reader might see the
// first and another the last.
func once(d *json.Decoder, at string) error {
	t, err := d.Token()
	kind, ok := t.(json.Delim)
	if err != nil || !ok {
		return err
	}
	seen := map[string]bool{}
	for n := 0; d.More(); n++ {
		inner := fmt.Sprintf("%s[%d]", at, n)
		if kind == '{' {
			name, _ := d.Token()
			inner = strings.TrimPrefix(fmt.Sprintf("%s.%s", at, name), ".")
			if folded := strings.ToLower(inner); seen[folded] {
				return wrongField(inner, "the field is there twice")
			} else {
				seen[folded] = true
			}
		}
		if err := once(d, inner); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
