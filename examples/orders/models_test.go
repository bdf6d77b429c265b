package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	orders "github.com/headwater-go/headwater/examples/orders"
	"github.com/headwater-go/headwater/examples/orders/order"
	"github.com/headwater-go/headwater/projection"
	"go.etcd.io/bbolt"
)

// The read models of a shop where something happened to every order: 1 is as it
// was imported, 2 late, 3 was changed and is open, 4 was cancelled, 5 is open, and
// wanted before 3, and 6 was shipped on the last day.
func TestList(t *testing.T) {
	t.Parallel()
	dir := smallShop(t)
	succeed(t, "report", "-data", dir) // what is counted already is taken back
	onLog(t, dir, func(log *eventstore.Store) {
		day := func(n int) time.Time { return time.Date(1996, time.July, n, 0, 0, 0, 0, time.UTC) }
		tofu := order.Item{Product: "Tofu", UnitPrice: 2325 * order.Cent, Quantity: 3, Discount: 5}
		do(t, log, "3", day(9), order.AddLine{Item: tofu}, order.RemoveLine{Number: 1})
		do(t, log, "4", day(8), order.Place{Customer: "CHOPS", Required: day(20), Lines: []order.Item{tofu, tofu}}, order.Cancel{})
		do(t, log, "5", day(9), order.Place{Customer: "ANTON", Required: day(31), Lines: []order.Item{tofu}}, order.Pay{})
		do(t, log, "6", day(10), order.Place{Customer: "BERGS", Required: day(10), OnAccount: true, Lines: []order.Item{tofu}}, order.Ship{})
	})
	for _, name := range modelNames {
		golden(t, name+".txt", succeed(t, "list", name, "-data", dir))
	}
	requireFold(t, dir)
}

var modelNames = []string{"sales-by-day", "sales-by-customer", "open-orders", "late-orders"}

// do executes commands for an order.
func do(t *testing.T, log *eventstore.Store, id string, when time.Time, commands ...command) {
	t.Helper()
	all := aggregate.NewRepository[order.Order](log, order.Kind, order.Codec, nil)
	for _, c := range commands {
		if _, _, err := all.Execute(t.Context(), id, c, &aggregate.ExecuteOptions{Time: when}); err != nil {
			t.Fatal(err)
		}
	}
}

type command = aggregate.Command[order.Order, order.Event]

// Whatever happens to orders, and however often somebody looks in between: the
// report is what a fold of the log comes to.
func TestReportIsFold(t *testing.T) {
	t.Parallel()
	rng := newRand(t)
	dir := smallShop(t)
	for range 4 {
		onLog(t, dir, func(log *eventstore.Store) {
			for range 250 {
				something(t, rng, log)
			}
		})
		requireFold(t, dir)
	}
	requireReplayed(t, dir, placedIDs(t, dir)...)
}

// requireFold fails the test unless the report is what a fold of the log comes to.
func requireFold(t *testing.T, dir string) {
	t.Helper()
	if got, want := reported(t, dir), folded(t, dir, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the report is %+v\nwant %+v", got, want)
	}
}

// something executes a command, unless a rule refuses it.
func something(t *testing.T, rng *rand.Rand, log *eventstore.Store) {
	t.Helper()
	day := func() time.Time { return time.Date(2026, time.March, 1+rng.IntN(4), rng.IntN(24), 0, 0, 0, time.UTC) }
	item := func() order.Item {
		return order.Item{
			Product: "Tofu", UnitPrice: order.Money(rng.Int64N(9999)) * order.Cent,
			Quantity: 1 + rng.Int64N(9), Discount: order.Discount(rng.Int64N(100)),
		}
	}
	commands := []command{
		order.Place{Customer: fmt.Sprint("C", rng.IntN(9)), Required: day(), OnAccount: rng.IntN(2) > 0, Lines: []order.Item{item(), item()}},
		order.AddLine{Item: item()}, order.RemoveLine{Number: 1 + rng.IntN(4)},
		order.Pay{}, order.Ship{}, order.Cancel{},
	}
	all := aggregate.NewRepository[order.Order](log, order.Kind, order.Codec, nil)
	c := commands[rng.IntN(len(commands))]
	_, _, err := all.Execute(t.Context(), fmt.Sprint("R", rng.IntN(70)), c, &aggregate.ExecuteOptions{Time: day()})
	if err != nil && !errors.As(err, new(*aggregate.RejectedError)) {
		t.Fatal(err)
	}
}

func TestReportOfNorthwindIsFold(t *testing.T) {
	t.Parallel()
	if !haveNorthwind() {
		t.Skipf("the Northwind data are not in %s", northwind)
	}
	dir := filepath.Join(t.TempDir(), "data")
	succeed(t, importArgs(northwind, "order-details.csv", dir)...)
	if got := folded(t, dir, nil); !reflect.DeepEqual(got, northwindFigures) {
		t.Errorf("the fold is %+v\nwant %+v", got, northwindFigures)
	}
	if got := reported(t, dir); !reflect.DeepEqual(got, northwindFigures) {
		t.Errorf("the report is %+v\nwant %+v", got, northwindFigures)
	}
	requireReplayed(t, dir, placedIDs(t, dir)...)
}

// requireReplayed makes all read models anew, and then what some orders made in
// them, and fails the test unless they hold the same still.
func requireReplayed(t *testing.T, dir string, ids ...string) {
	t.Helper()
	before := listed(t, dir)
	for _, replay := range []func(projected) error{
		func(p projected) error {
			_, err := p.Rebuild(t.Context(), nil)
			return err
		},
		func(p projected) error {
			for _, id := range ids {
				if err := p.RebuildStream(t.Context(), eventstore.StreamID{Kind: order.Kind, ID: id}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if err := orders.Projections(t.Context(), dir, replay); err != nil {
			t.Fatal(err)
		}
		if after := listed(t, dir); after != before {
			t.Errorf("the read models are\n%s\nand were\n%s", after, before)
		}
	}
}

type projected = *projection.Projection[*bbolt.Bucket]

// listed returns the report and all read models.
func listed(t *testing.T, dir string) string {
	t.Helper()
	text := succeed(t, "report", "-data", dir)
	for _, name := range modelNames {
		text += succeed(t, "list", name, "-data", dir)
	}
	return text
}

// placedIDs returns the ids of all orders.
func placedIDs(t *testing.T, dir string) (ids []string) {
	t.Helper()
	onLog(t, dir, func(log *eventstore.Store) {
		for head, err := range log.Streams(t.Context(), order.Kind, 0) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, head.Stream.ID)
		}
	})
	return ids
}

// Somebody replaced the log, and left the read models of the old one.
func TestReadModelsOfOtherLog(t *testing.T) {
	t.Parallel()
	dir, other := smallShop(t), smallShop(t)
	succeed(t, "report", "-data", other)
	file := filepath.Join(dir, "read-models")
	writeFile(t, file, readFile(t, filepath.Join(other, "read-models")))
	r := run("report", "-data", dir)
	if r.status != 1 || r.out != "" {
		t.Errorf("exit status %d, printed %q", r.status, r.out)
	}
	requireContains(t, r.errors, "its read model was made from the log with the identity ", "; it is in the file "+file+"\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", succeed(t, "report", "-data", dir))
}
