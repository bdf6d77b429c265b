package headwater_test

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// userProgram uses the engine and nothing else of the module.
const userProgram = `package main

import (
	"context"
	"log"

	"github.com/headwater-go/headwater/aggregate"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/snapshot"
	"github.com/nats-io/nats.go"
	"go.etcd.io/bbolt"
)

type Event interface{ EventType() string }
type Placed struct{}
type Order struct{ Placed bool }
type Place struct{}

func (Placed) EventType() string              { return "order.placed" }
func (Order) Evolve(Event) Order              { return Order{true} }
func (Place) Decide(Order) ([]Event, error)   { return []Event{Placed{}}, nil }

var codec = eventstore.JSON[Event](Placed{})

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(nats.DefaultURL)
	if err != nil {
		return err
	}
	store, err := eventstore.Open(ctx, nc, "shop", nil)
	if err != nil {
		return err
	}
	snapshots, err := snapshot.Open("snapshots", nil)
	if err != nil {
		return err
	}
	orders := aggregate.NewRepository[Order](store, "order", codec, &aggregate.Options{Snapshots: snapshots})
	if _, _, err := orders.Execute(ctx, "1", Place{}, nil); err != nil {
		return err
	}
	file, err := projection.OpenFile("models")
	if err != nil {
		return err
	}
	count, err := projection.New("count", store, file, projection.From("order", codec,
		projection.On(func(_ context.Context, b *bbolt.Bucket, _ Placed, at projection.Event) error {
			return b.Put([]byte(at.Stream.ID), nil)
		})), nil)
	if err != nil {
		return err
	}
	return count.Run(ctx)
}
`

// What is linked into the binary of a user of the engine is seen in the binary itself.
func TestUsersBinaryIsLight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "user.exe")
	if err := os.WriteFile(source, []byte(userProgram), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	linked := make(map[string]bool)
	for _, m := range info.Deps {
		linked[m.Path] = true
		for _, prefix := range heavy {
			if strings.HasPrefix(m.Path+"/", prefix) {
				t.Errorf("the binary has %s", m.Path)
			}
		}
	}
	for _, must := range []string{"github.com/nats-io/nats.go", "go.etcd.io/bbolt", "github.com/google/uuid"} {
		if !linked[must] {
			t.Errorf("the binary does not have %s: the test looks in the wrong place", must)
		}
	}
	t.Logf("%d modules: %v", len(linked), linked)
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"testing.", "database/sql.", "github.com/nats-io/nats-server", "go.opentelemetry.io/", "github.com/prometheus/"} {
		if strings.Contains(string(symbols), " "+pkg) {
			t.Errorf("the binary has functions of %s", pkg)
		}
	}
	if !strings.Contains(string(symbols), " "+module+"eventstore.") {
		t.Error("the binary has no function of eventstore: the test looks in the wrong place")
	}
}
