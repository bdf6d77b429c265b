package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// batch is what the two files say. Both are read whole before anything is
// written: the last line of the one may belong to the first order of the other.
type batch struct {
	ordersFile, linesFile string

	entries  []*entry // in the order of the file
	byID     map[string]*entry
	problems []problem
}

// entry is an order of the files: what is to be done, and when it was.
type entry struct {
	row     row
	id      string
	place   order.Place
	ordered time.Time
	shipped time.Time // zero: it was not
	bad     bool      // one of its rows is, and nothing of it is written
}

// readBatch reads the files. The error is about a file as a whole; what is
// wrong with a row is among the problems.
func readBatch(ordersFile, linesFile string) (*batch, error) {
	orders, err := readTable(ordersFile, orderColumns)
	if err != nil {
		return nil, err
	}
	lines, err := readTable(linesFile, lineColumns)
	if err != nil {
		return nil, err
	}
	b := &batch{ordersFile: ordersFile, linesFile: linesFile, byID: make(map[string]*entry)}
	for _, r := range orders {
		b.addOrder(r)
	}
	for _, r := range lines {
		b.addLine(r)
	}
	for _, e := range b.entries {
		b.checkWhole(e)
	}
	slices.SortStableFunc(b.problems, func(p, q problem) int {
		return cmp.Or(b.rank(p.file)-b.rank(q.file), p.line-q.line)
	})
	return b, nil
}

func (b *batch) rank(file string) int {
	if file == b.ordersFile {
		return 0
	}
	return 1
}

// good returns the entries to write.
func (b *batch) good() []*entry {
	var good []*entry
	for _, e := range b.entries {
		if !e.bad {
			good = append(good, e)
		}
	}
	return good
}

// addOrder adds a row of the orders. Bad ones are kept too: their lines are not
// those of an unknown order.
func (b *batch) addOrder(r row) {
	e := parseEntry(r)
	if e.row.err != nil {
		b.problem(r, "%v", e.row.err)
		e.bad = true
	}
	switch first, twice := b.byID[e.id]; {
	case twice:
		// Which of them is right is not for a program to say.
		first.bad = true
		b.problem(r, "order %s is on line %d already; neither is imported", e.id, first.row.line)
	case e.id != "":
		b.byID[e.id] = e
		b.entries = append(b.entries, e)
	}
}

func (b *batch) addLine(r row) {
	id, item, r := parseItem(r)
	e, known := b.byID[id]
	if r.err == nil && !known {
		r.err = fmt.Errorf("there is no order %s in %s", id, b.ordersFile)
	}
	if r.err == nil {
		e.place.Lines = append(e.place.Lines, item)
		return
	}
	b.problem(r, "%v", r.err)
	if known {
		e.bad = true // an order with a line missing is worse than none
	}
}

// checkWhole asks the rules about an order whose rows are right one by one.
func (b *batch) checkWhole(e *entry) {
	if e.bad {
		return
	}
	var err error
	if len(e.place.Lines) == 0 {
		err = fmt.Errorf("order %s has no lines in %s", e.id, b.linesFile)
	} else if _, err = e.place.Decide(order.Order{}); err != nil {
		err = fmt.Errorf("order %s: %w", e.id, err)
	}
	if err != nil {
		b.problem(e.row, "%v", err)
		e.bad = true
	}
}

func (b *batch) problem(r row, format string, args ...any) {
	b.problems = append(b.problems, problem{r.file, r.line, fmt.Sprintf(format, args...)})
}
