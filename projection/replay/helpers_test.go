package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/replay"
	"github.com/headwater-go/headwater/testutil"
	"go.etcd.io/bbolt"
)

var update = flag.Bool("update", false, "write the golden files")

type deposited struct{ Amount int }

func (deposited) EventType() string { return "account.deposited" }

var codec = eventstore.JSON[eventstore.Typed](deposited{})

// hostile is an account whose name would turn a line on a terminal around.
const hostile = "\u202egnp.exe"

// errPoison says something that a terminal would obey.
var errPoison = errors.New("no \x1b[31m13\nsecond line")

// bank is a log of accounts, and a file of read models.
type bank struct {
	*testing.T
	store    *eventstore.Store
	file     *projection.File
	all      []replay.Projection
	mended   atomic.Bool
	handling func(position uint64) // called by the handlers of balances; nil: nothing is
	opened   int
	closed   int
	data     string // a flag of the program's own
	told     string // what the last command said beside its output
}

// newBank returns a bank with four commits in two accounts, of which the second one
// has an amount that picky does not like. The projections are balances, picky and
// strict, which stops where picky parks. None has run yet.
func newBank(t *testing.T) *bank {
	t.Helper()
	b := emptyBank(t)
	b.deposit("1", 1)
	b.deposit(hostile, 13)
	b.deposit("1", 2)
	b.deposit(hostile, 5)
	return b
}

func emptyBank(t *testing.T) *bank {
	t.Helper()
	file, err := projection.OpenFile(filepath.Join(t.TempDir(), "models"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{T: t, store: testutil.Store(t), file: file}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	forget := projection.Forget(func(_ context.Context, accounts *bbolt.Bucket, stream eventstore.StreamID) error {
		return accounts.Delete([]byte(stream.ID))
	})
	b.project("balances", &projection.Options{Batch: 1}, forget, projection.On(b.add))
	b.project("picky", &projection.Options{Attempts: 2, Poison: projection.Park}, projection.On(b.addPicky))
	b.project("strict", &projection.Options{Attempts: 2}, projection.On(b.addPicky))
	return b
}

func (b *bank) project(name string, opts *projection.Options, handlers ...projection.Handler[*bbolt.Bucket]) {
	b.Helper()
	p, err := projection.New(name, b.store, b.file, projection.From("account", codec, handlers...), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.all = append(b.all, p)
}

func (b *bank) add(_ context.Context, accounts *bbolt.Bucket, e deposited, at projection.Event) error {
	if b.handling != nil {
		b.handling(at.Position)
	}
	sum := 0
	if _, err := fmt.Sscan(string(accounts.Get([]byte(at.Stream.ID))), &sum); err != nil && sum != 0 {
		return err
	}
	return accounts.Put([]byte(at.Stream.ID), fmt.Append(nil, sum+e.Amount))
}

func (b *bank) addPicky(ctx context.Context, accounts *bbolt.Bucket, e deposited, at projection.Event) error {
	if e.Amount == 13 && !b.mended.Load() {
		return errPoison
	}
	return b.add(ctx, accounts, e, at)
}

func (b *bank) deposit(account string, amount int) {
	b.Helper()
	data, err := codec.Encode(deposited{amount})
	if err == nil {
		_, err = b.store.Append(b.Context(), eventstore.StreamID{Kind: "account", ID: account}, eventstore.Any, []eventstore.EventData{data}, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// catchUp brings projections to where the log ends.
func (b *bank) catchUp(names ...string) {
	b.Helper()
	for _, p := range b.all {
		for _, name := range names {
			if p.Name() != name {
				continue
			}
			if err := p.(interface{ CatchUp(context.Context) error }).CatchUp(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// balance returns what readers see of an account.
func (b *bank) balance(projection, account string) (sum string) {
	b.Helper()
	err := b.file.View(projection, func(accounts *bbolt.Bucket) error {
		sum = string(accounts.Get([]byte(account)))
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}

// run runs a command, and returns what it printed.
func (b *bank) run(args ...string) (out string, err error) {
	return b.runUntil(b.Context(), args...)
}

func (b *bank) runUntil(ctx context.Context, args ...string) (string, error) {
	var out, progress bytes.Buffer
	commands := &replay.Commands{
		Program: "bank", Out: &out, Err: &progress,
		Flags: func(fs *flag.FlagSet) { fs.StringVar(&b.data, "data", "", "the `folder` of the log") },
		Open: func(context.Context) ([]replay.Projection, func() error, error) {
			b.opened++
			return b.all, func() error { b.closed++; return nil }, nil
		},
	}
	err := commands.Run(ctx, args)
	b.told = progress.String()
	if b.opened != b.closed {
		b.Errorf("%q: opened %d times, closed %d times", args, b.opened, b.closed)
	}
	return out.String(), err
}

// succeed runs a command that must not fail.
func (b *bank) succeed(args ...string) string {
	b.Helper()
	out, err := b.run(args...)
	if err != nil {
		b.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// fail runs a command that must fail with an error that has these parts.
func (b *bank) fail(want error, args []string, parts ...string) (out string) {
	b.Helper()
	out, err := b.run(args...)
	if !errors.Is(err, want) {
		b.Fatalf("%q: %v, want %v", args, err, want)
	}
	requireContains(b.T, err.Error(), parts...)
	if strings.ContainsAny(err.Error(), "\x1b\u202e") {
		b.Errorf("%q: the error would disturb a terminal: %q", args, err)
	}
	return out
}

func requireContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in:\n%s", part, text)
		}
	}
}

// lines parses lines of JSON.
func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, one)
	}
	return all
}

// varying is what differs from one run to the next: when something was, how long it
// took, and how fast it was.
var varying = regexp.MustCompile(`( in )[0-9.]+m?s|\d{4}-\d\d-\d\dT[0-9:.]+Z|("(?:seconds|rate|remaining)":)[0-9.e+-]+`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = varying.ReplaceAllString(got, `$1$2…`)
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not as in %s; if it should be so, run the test with -update. Got:\n%s", file, got)
	}
}
