package sqlmodel

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/headwater-go/headwater/eventstore"
)

// recordsTable is the one with the records of all projections.
const recordsTable = "headwater_projections"

var (
	// What follows CREATE TABLE: a name in braces, or another one.
	creates = regexp.MustCompile(`(?i)\bcreate\s+(?:unlogged\s+|virtual\s+)?table\s+(?:if\s+not\s+exists\s+)?(\{[^{}]*\}|\S*)`)
	// A word in braces, which is meant to be a table.
	words = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	// With 20 digits of a generation a name fits the 63 bytes that PostgreSQL has
	// for it.
	names = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)
	// A name that may be that of a generation's table.
	numbered = regexp.MustCompile(`__[0-9]+$`)
)

// tablesOf returns the tables that statements create, in their order.
func tablesOf(schema []string) (tables []string, err error) {
	for _, statement := range schema {
		for _, match := range creates.FindAllStringSubmatch(statement, -1) {
			name, err := tableName(match[1])
			if err != nil {
				return nil, err
			}
			if slices.Contains(tables, name) {
				return nil, invalid("table", name, "is created twice")
			}
			tables = append(tables, name)
		}
	}
	for _, statement := range schema {
		for _, match := range words.FindAllStringSubmatch(statement, -1) {
			if !slices.Contains(tables, match[1]) {
				return nil, invalid("table", match[1], "is in braces, and no statement creates it")
			}
		}
	}
	return tables, nil
}

func tableName(written string) (string, error) {
	name, inBraces := strings.CutPrefix(written, "{")
	name = strings.TrimSuffix(name, "}")
	switch {
	case !inBraces:
		return "", invalid("table", name, "is created, and its name is not in braces: each generation needs one of its own")
	case !names.MatchString(name):
		return "", invalid("table", name, "is not 1 to 40 of a-z, 0-9 and '_', the first one not a digit")
	case numbered.MatchString(name):
		return "", invalid("table", name, `ends in "__" and a number, as the names of generations' tables do`)
	case name == recordsTable:
		return "", invalid("table", name, "is that of the records")
	}
	return name, nil
}

func invalid(what, value, reason string) error {
	return &eventstore.InvalidError{What: what, Value: value, Reason: reason}
}

// physical is the name of a generation's table.
func physical(table string, generation uint64) string {
	return table + "__" + strconv.FormatUint(generation, 10)
}

// expander puts a generation's tables in place of their names in braces.
func expander(tables []string, generation uint64) *strings.Replacer {
	var pairs []string
	for _, table := range tables {
		pairs = append(pairs, "{"+table+"}", physical(table, generation))
	}
	return strings.NewReplacer(pairs...)
}
