package sqlmodel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/headwater-go/headwater/projection"
)

// transaction is what a projection gets.
type transaction struct {
	*records
	model *Model
	// What the model remembers: which generation the views show, and which tables
	// each one has, since a later schema may have others.
	own *records
}

const shownKey = "shown"

func generationKey(g uint64) string { return "generation/" + strconv.FormatUint(g, 10) }

// newTransaction returns a transaction. The model's own records are under a name that no
// projection has.
func newTransaction(m *Model, c *conn, projection string) *transaction {
	return &transaction{newRecords(c, projection), m, newRecords(c, projection+"/model")}
}

func (t *transaction) finish() error {
	if err := t.own.finish(); err != nil {
		return err
	}
	return t.records.finish()
}

// Data returns what handlers change a generation with. Workers do not wait for each other
// here.
func (t *transaction) Data(generation uint64) (*Tx, error) {
	if err := t.lock(); err != nil {
		return nil, err
	}
	there, err := t.own.peek(generationKey(generation))
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, noGeneration(generation)
	}
	return &Tx{t.conn, expander(t.model.tables, generation)}, nil
}

func noGeneration(generation uint64) error {
	return fmt.Errorf("generation %d: %w", generation, projection.ErrNoGeneration)
}

// Create makes the tables of a generation.
func (t *transaction) Create(generation uint64) error {
	there, err := t.own.Get(generationKey(generation))
	if err != nil {
		return err
	}
	if there != nil {
		return fmt.Errorf("generation %d is there already", generation)
	}
	expand := expander(t.model.tables, generation)
	for _, statement := range t.model.schema {
		if _, err := t.exec(expand.Replace(statement)); err != nil {
			return fmt.Errorf("generation %d: %w", generation, err)
		}
	}
	return t.own.Put(generationKey(generation), []byte(strings.Join(t.model.tables, " ")))
}

// tables returns those of a generation.
func (t *transaction) tables(generation uint64) ([]string, error) {
	list, err := t.own.Get(generationKey(generation))
	if err == nil && list == nil {
		err = noGeneration(generation)
	}
	return strings.Fields(string(list)), err
}

// Show makes the views anew.
func (t *transaction) Show(generation uint64) error {
	before, err := t.shown()
	if err != nil {
		return err
	}
	if err := t.dropViews(before); err != nil {
		return err
	}
	if generation == 0 {
		return t.own.Put(shownKey, nil)
	}
	tables, err := t.tables(generation)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if _, err := t.exec(fmt.Sprintf(`CREATE VIEW "%s" AS SELECT * FROM %s`, table, physical(table, generation))); err != nil {
			return fmt.Errorf("view %s: %w", table, err)
		}
	}
	return t.own.Put(shownKey, strconv.AppendUint(nil, generation, 10))
}

// shown returns the generation that the views show, 0 for none.
func (t *transaction) shown() (uint64, error) {
	value, err := t.own.Get(shownKey)
	if err != nil || value == nil {
		return 0, err
	}
	return strconv.ParseUint(string(value), 10, 64)
}

func (t *transaction) dropViews(generation uint64) error {
	if generation == 0 {
		return nil
	}
	tables, err := t.tables(generation)
	if err != nil {
		return err
	}
	for _, table := range tables {
		// One that somebody has dropped by hand is no trouble.
		if _, err := t.exec(fmt.Sprintf(`DROP VIEW IF EXISTS "%s"`, table)); err != nil {
			return fmt.Errorf("view %s: %w", table, err)
		}
	}
	return nil
}

// Drop drops the tables of a generation, the last one first, since it may refer to others.
func (t *transaction) Drop(generation uint64) error {
	shown, err := t.shown()
	if err != nil {
		return err
	}
	if generation == shown {
		return fmt.Errorf("generation %d is what readers see", generation)
	}
	tables, err := t.tables(generation)
	if err != nil {
		return err
	}
	for _, table := range slices.Backward(tables) {
		if _, err := t.exec("DROP TABLE IF EXISTS " + physical(table, generation)); err != nil {
			return fmt.Errorf("generation %d: %w", generation, err)
		}
	}
	return t.own.Put(generationKey(generation), nil)
}
