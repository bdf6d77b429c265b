// Package headwater_test keeps the module's structure as its documents say.
package headwater_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/headwater-go/headwater/"

// The packages stand on floors: each may import those it names and no other of
// the module.
var floors = map[string][]string{
	"internal/lock":        {},
	"internal/natsnode":    {},
	"internal/pages":       {},
	"internal/state":       {},
	"eventstore":           {},
	"eventstore/storetest": {"eventstore"},
	"snapshot":             {"eventstore", "internal/lock", "internal/pages"},
	"snapshot/backendtest": {"eventstore", "internal/lock", "internal/pages", "snapshot"},
	"internal/terminal":    {},
	"projection":           {"eventstore", "internal/lock", "internal/pages", "internal/state"},
	"projection/modeltest": {"eventstore", "internal/lock", "internal/pages", "internal/state", "projection"},
	"projection/sqlmodel":  {"eventstore", "internal/lock", "internal/pages", "internal/state", "projection"},
	"projection/replay":    {"eventstore", "internal/lock", "internal/pages", "internal/state", "internal/terminal", "projection"},
	"aggregate":            {"eventstore", "internal/lock", "internal/pages", "internal/state", "snapshot"},
	"embedded":             {"internal/lock"},
	"cmd/headwater":        {"embedded", "eventstore", "internal/lock", "internal/terminal"},
	"service":              {"aggregate", "embedded", "eventstore", "internal/lock", "internal/pages", "internal/state", "projection", "snapshot"},
	"service/metrics":      {"aggregate", "embedded", "eventstore", "internal/lock", "internal/pages", "internal/state", "projection", "service", "snapshot"},
	"service/tracing":      {"aggregate", "embedded", "eventstore", "internal/lock", "internal/pages", "internal/state", "projection", "service", "snapshot"},
	"service/timer":        {"eventstore"},
	"testutil":             {"aggregate", "embedded", "eventstore", "internal/lock", "internal/pages", "internal/state", "snapshot"},
}

// What a program that only uses the engine must not link: these packages, and
// of other modules whatever begins so.
var heavy = []string{
	"testing", "database/sql", "github.com/mattn/", "github.com/jackc/", "github.com/nats-io/nats-server/",
	"go.uber.org/goleak", "github.com/anishathalye/", "github.com/prometheus/", "go.opentelemetry.io/",
}

func TestFloors(t *testing.T) {
	t.Parallel()
	for pkg, allowed := range floors {
		for _, dep := range dependencies(t, pkg) {
			name, ours := strings.CutPrefix(dep, module)
			if ours && name != pkg && !slices.Contains(allowed, name) {
				t.Errorf("%s depends on %s, which is not below it", pkg, name)
			}
		}
	}
}

func TestEngineIsLight(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"eventstore", "snapshot", "aggregate", "projection", "projection/replay", "service/timer"} {
		for _, dep := range dependencies(t, pkg) {
			if pkg == "eventstore" && strings.HasPrefix(dep, "go.etcd.io/bbolt") {
				t.Errorf("%s depends on %s, which is for package snapshot", pkg, dep)
			}
			for _, prefix := range heavy {
				if dep == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(dep, prefix) {
					t.Errorf("a program that imports %s links %s", pkg, dep)
				}
			}
		}
	}
}

// What is heavy is imported by few, and so linked only by who wants it. The rest of the
// module imports it nowhere but in tests.
func TestHeavyImportsAreFew(t *testing.T) {
	t.Parallel()
	const format = `{{range .Imports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}`
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for prefix, allowed := range map[string][]string{
		"github.com/nats-io/nats-server/": {"embedded", "internal/natsnode"},
		"github.com/prometheus/":          {"service/metrics", "examples/orders"},
		"go.opentelemetry.io/":            {"service/tracing", "examples/orders"},
		"github.com/caarlos0/":            {"service"},
	} {
		imported := make(map[string]bool)
		for line := range strings.Lines(string(out)) {
			pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
			if pkg = strings.TrimPrefix(pkg, module); strings.HasPrefix(imports, prefix) {
				imported[pkg] = true
				if !slices.Contains(allowed, pkg) {
					t.Errorf("%s imports %s", pkg, imports)
				}
			}
		}
		for _, pkg := range allowed {
			if !imported[pkg] {
				t.Errorf("%s imports nothing of %s: it need not be allowed to", pkg, prefix)
			}
		}
	}
	for _, dep := range dependencies(t, "service/tracing") {
		if strings.HasPrefix(dep, "go.opentelemetry.io/otel/sdk") {
			t.Errorf("service/tracing links %s, which is for the program to choose", dep)
		}
	}
}

func dependencies(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+pkg).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+pkg) {
		t.Fatalf("go list -deps %s does not name the package itself", pkg)
	}
	return deps
}
