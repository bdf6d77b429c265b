package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// null is how the files say that a field has no value.
const null = "NULL"

// earliestYear is the first one of dates in the database that the files come
// from. An earlier one is a mistake, and the zero time would be "now" to the
// store.
const earliestYear = 1753

// The columns that are read, and where their cells are in a row.
var (
	orderColumns = []string{"orderID", "customerID", "orderDate", "requiredDate", "shippedDate"}
	lineColumns  = []string{"orderID", "productID", "unitPrice", "quantity", "discount"}
)

// parseEntry returns the order that a row is. If it is a bad one, the entry's
// row has the error.
func parseEntry(r row) *entry {
	p := parser{row: r, columns: orderColumns}
	e := &entry{id: p.name(0)}
	e.place.Customer = p.name(1)
	e.place.OnAccount = true // the files know of no payments
	e.ordered = p.date(2)
	e.place.Required = p.date(3)
	if p.cells[4] != null {
		if e.shipped = p.date(4); e.shipped.Before(e.ordered) {
			p.fail("shippedDate %s is before orderDate %s", p.cells[4], p.cells[2])
		}
	}
	e.row = p.row
	return e
}

// parseItem returns the item that a row is, and the id of its order. If it is a
// bad one, the row returned has the error.
func parseItem(r row) (string, order.Item, row) {
	p := parser{row: r, columns: lineColumns}
	id := p.name(0)
	item := order.Item{
		Product:   p.name(1),
		UnitPrice: cell(&p, 2, order.ParseMoney),
		Quantity:  cell(&p, 3, parseQuantity),
		Discount:  cell(&p, 4, order.ParseDiscount),
	}
	if err := item.Check(); err != nil {
		p.fail("%w", err)
	}
	return id, item, p.row
}

// parser reads the cells of a row. The row gets the first error.
type parser struct {
	row
	columns []string
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// name returns a cell that names something.
func (p *parser) name(i int) string {
	text := p.cells[i]
	switch {
	case text == "" || text == null:
		p.fail("%s is empty", p.columns[i])
	case text != strings.TrimSpace(text):
		p.fail("%s has space around it: %q", p.columns[i], text)
	case !utf8.ValidString(text):
		p.fail("%s is not UTF-8: %q", p.columns[i], text)
	}
	return text
}

func (p *parser) date(i int) time.Time {
	return cell(p, i, parseDate)
}

// cell returns what a cell says.
func cell[T any](p *parser, i int, parse func(string) (T, error)) T {
	value, err := parse(p.cells[i])
	if err != nil {
		p.fail("%s: %w", p.columns[i], err)
	}
	return value
}

// parseDate takes a date with or without a time, which is UTC.
func parseDate(text string) (time.Time, error) {
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil && t.Year() >= earliestYear {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("not a date such as 1996-07-04: %q", text)
}

func parseQuantity(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not a whole number: %q", text)
	}
	return n, nil
}
