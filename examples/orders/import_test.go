package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	orders "github.com/headwater-go/headwater/examples/orders"
)

// northwind is where the Northwind data are kept: beside the repository, since
// it is not a part of it.
const northwind = "../../../shared/data/northwind"

// northwindFigures are the facts in the data's README.
var northwindFigures = figures{
	Orders: 830, Lines: 2155, Customers: 89, Shipped: 809, Open: 21, Late: 37,
	GrossRevenue: "1354458.59", NetRevenue: "1265793.0395",
	Top: []best{
		{"QUICK", "110277.3050"}, {"ERNSH", "104874.9785"}, {"SAVEA", "104361.9500"},
		{"RATTC", "51097.8005"}, {"HUNGO", "49979.9050"},
	},
}

func haveNorthwind() bool {
	_, err := os.Stat(northwind)
	return err == nil
}

func importArgs(folder, linesFile, data string) []string {
	return []string{"import", "-orders", filepath.Join(folder, "orders.csv"),
		"-lines", filepath.Join(folder, linesFile), "-data", data}
}

func TestImportNorthwind(t *testing.T) {
	t.Parallel()
	if !haveNorthwind() {
		t.Skipf("the Northwind data are not in %s", northwind)
	}
	dir := filepath.Join(t.TempDir(), "data")
	args := importArgs(northwind, "order-details.csv", dir)

	requireContains(t, succeed(t, args...), "\n830 of 830 orders\n",
		tallies("830 0", "2155 0", "3794 0"))
	if got := reported(t, dir); !reflect.DeepEqual(got, northwindFigures) {
		t.Errorf("the figures are %+v\nwant %+v", got, northwindFigures)
	}

	requireContains(t, succeed(t, args...), "nothing new\n",
		tallies("0 830", "0 2155", "0 3794"))
	if got := reported(t, dir); !reflect.DeepEqual(got, northwindFigures) {
		t.Errorf("after the second import the figures are %+v\nwant %+v", got, northwindFigures)
	}
}

// tallies returns the table of an import's totals, given "added present" for
// orders, lines and events.
func tallies(orders, lines, events string) string {
	table := fmt.Sprintf("%-8s %10s  %13s\n", "", "added", "already there")
	for _, row := range []string{"orders " + orders, "lines " + lines, "events " + events} {
		f := strings.Fields(row)
		table += fmt.Sprintf("%-8s %10s  %13s\n", f[0], f[1], f[2])
	}
	return table
}

func TestImportBadRows(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	r := run(importArgs("testdata/bad", "lines.csv", dir)...)
	if r.status != 1 {
		t.Errorf("exit status %d, want 1", r.status)
	}
	golden(t, "bad/complaints.txt", r.errors)
	requireContains(t, r.out, "3 of 3 orders\n", tallies("3 0", "3 0", "7 0"))

	// The good ones are there, and nothing else.
	for _, id := range []string{"1", "2", "1920"} {
		succeed(t, "show", id, "-data", dir)
	}
	if f := reported(t, dir); f.Orders != 3 || f.Lines != 3 {
		t.Errorf("there are %d orders with %d lines, want 3 with 3", f.Orders, f.Lines)
	}
}

// What makes a file useless is found before there is a folder.
func TestImportBadFiles(t *testing.T) {
	t.Parallel()
	const orderHeader = "orderID,customerID,orderDate,requiredDate,shippedDate\n"
	for _, test := range []struct{ name, orders, want string }{
		{"empty", "", "FILE: the file is empty; its first line should name the columns"},
		{"column missing", "orderID,customer,orderDate,requiredDate,shippedDate\n",
			"FILE:1: there is no column customerID among orderID, customer, orderDate, requiredDate, shippedDate"},
		{"column twice", "orderID," + orderHeader, "FILE:1: there are two columns orderID"},
		{"quote", `orderID,"customerID` + "\n", `FILE:1: column 20: extraneous or missing " in quoted-field`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, data := filepath.Join(dir, "orders.csv"), filepath.Join(dir, "data")
			writeFile(t, file, test.orders)
			requireFailure(t, "orders: "+strings.ReplaceAll(test.want, "FILE", file)+"\n",
				"import", "-orders", file, "-lines", "testdata/good/lines.csv", "-data", data)
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("%s: %v", data, err)
			}
		})
	}
	requireFailure(t, "orders: open none.csv: no such file or directory\n",
		"import", "-orders", "testdata/good/orders.csv", "-lines", "none.csv", "-data", "none")
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Files grow between two imports, and somebody corrects a row after the order
// is in the log.
func TestImportChangedFiles(t *testing.T) {
	t.Parallel()
	const header = "orderID,customerID,orderDate,requiredDate,shippedDate\n"
	const lineHeader = "orderID,productID,unitPrice,quantity,discount\n"
	dir := t.TempDir()
	args := importArgs(dir, "lines.csv", filepath.Join(dir, "data"))
	files := func(orders, lines string) {
		writeFile(t, filepath.Join(dir, "orders.csv"), "\ufeff"+header+orders)
		writeFile(t, filepath.Join(dir, "lines.csv"), strings.ReplaceAll(lineHeader+lines, "\n", "\r\n"))
	}

	files("1,A,2026-01-01,2026-02-01,NULL\n", "1,x,1.00,1,0\n")
	requireContains(t, succeed(t, args...), tallies("1 0", "1 0", "2 0"))

	files("1,A,2026-01-01,2026-02-01,2026-01-09\n2,A,2026-01-02,2026-02-01,NULL", "1,x,1.00,1,0\n2,x,1.00,1,0")
	requireContains(t, succeed(t, args...), tallies("1 1", "1 1", "3 2"))

	files("1,A,2026-01-01,2026-02-01,2026-01-09\n2,A,2026-01-02,2026-02-01,2026-01-08\n", "1,x,1.00,2,0\n2,x,1.00,1,0\n")
	r := run(args...)
	if r.status != 1 {
		t.Errorf("exit status %d, want 1", r.status)
	}
	requireContains(t, r.out, tallies("0 1", "0 1", "1 2"))
	requireContains(t, r.errors, filepath.Join(dir, "orders.csv")+
		":2: order 1: it is there already, with another customer, date or lines; it stays as it is\n")
}

func TestBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	bar := orders.NewBar(&out, 4)
	bar.Show(1)
	bar.Show(2) // too soon to draw again
	bar.Show(4)
	bar.Clear()
	bar.Clear()
	text := regexp.MustCompile(`\d+/s`).ReplaceAllString(out.String(), "N/s")
	want := "\r\x1b[K[#######.......................] 1 of 4 orders, N/s" +
		"\r\x1b[K[##############################] 4 of 4 orders, N/s\r\x1b[K"
	if text != want {
		t.Errorf("drew %q, want %q", text, want)
	}
}
