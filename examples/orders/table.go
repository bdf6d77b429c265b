package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// table reads a CSV file with a header, a row a line. A field cannot go on in
// the next line: a quote that is never closed would otherwise swallow the rows
// up to the next one.
type table struct {
	file   string
	lines  *bufio.Reader
	line   int   // number of the line that was read last
	width  int   // fields in the header
	wanted []int // where the wanted columns are
}

// row is a row of a table.
type row struct {
	file string
	line int
	// cells are the fields of the wanted columns. With an error they are a
	// guess, good enough to say whom the row is about.
	cells []string
	err   error
}

// readTable returns all rows of a file, with the cells of the wanted columns.
// The error is about the file or its header.
func readTable(file string, wanted []string) ([]row, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := &table{file: file, lines: bufio.NewReader(f)}
	if err := t.readHeader(wanted); err != nil {
		return nil, err
	}
	var rows []row
	for {
		text, err := t.next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, t.parse(text))
	}
}

// next returns the next line that is not empty.
func (t *table) next() (string, error) {
	for {
		text, err := t.lines.ReadString('\n')
		if text == "" && err != nil {
			return "", err
		}
		t.line++
		if text = strings.TrimRight(text, "\r\n"); text != "" {
			return text, nil
		}
	}
}

func (t *table) readHeader(wanted []string) error {
	text, err := t.next()
	if err == io.EOF {
		return fmt.Errorf("%s: the file is empty; its first line should name the columns", t.file)
	}
	if err != nil {
		return err
	}
	names, err := splitLine(strings.TrimPrefix(text, "\ufeff")) // as Excel writes it
	if err != nil {
		return fmt.Errorf("%s:%d: %w", t.file, t.line, err)
	}
	t.width = len(names)
	for _, name := range wanted {
		i := slices.Index(names, name)
		if i < 0 {
			return fmt.Errorf("%s:%d: there is no column %s among %s", t.file, t.line, name, strings.Join(names, ", "))
		}
		if slices.Contains(names[i+1:], name) {
			return fmt.Errorf("%s:%d: there are two columns %s", t.file, t.line, name)
		}
		t.wanted = append(t.wanted, i)
	}
	return nil
}

func (t *table) parse(text string) row {
	fields, err := splitLine(text)
	if err != nil {
		fields = strings.Split(strings.ReplaceAll(text, `"`, ""), ",")
	} else if fields = rejoin(fields, t.width); len(fields) != t.width {
		err = fmt.Errorf("%d fields where the header has %d", len(fields), t.width)
	}
	r := row{file: t.file, line: t.line, err: err}
	for _, i := range t.wanted {
		cell := ""
		if i < len(fields) {
			cell = fields[i]
		}
		r.cells = append(r.cells, cell)
	}
	return r
}

// rejoin repairs a row with too many fields. Northwind's addresses have commas
// and no quotes: "Rua do Paço, 67". A comma before a space is taken for one of
// the text then, which is right for each of its rows.
func rejoin(fields []string, width int) []string {
	if len(fields) <= width {
		return fields
	}
	joined := fields[:1:1]
	for _, field := range fields[1:] {
		if strings.HasPrefix(field, " ") {
			joined[len(joined)-1] += "," + field
			continue
		}
		joined = append(joined, field)
	}
	return joined
}

// splitLine returns the fields of a line.
func splitLine(text string) ([]string, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("column %d: %w", syntax.Column, syntax.Err)
	}
	return fields, err
}

// problem is a row that cannot be imported, and why.
type problem struct {
	file string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text) }
