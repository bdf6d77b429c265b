package storetest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// faultEnv names the fault of the store that TestFaulty tests.
const faultEnv = "STORETEST_FAULT"

// TestFaulty runs the suite on a store that has a fault. It is run by
// [TestSuiteFindsFaults], in a process of its own, and fails there.
func TestFaulty(t *testing.T) {
	name := os.Getenv(faultEnv)
	if name == "" {
		t.Skip("run by TestSuiteFindsFaults")
	}
	patience = time.Second // for what a faulty store never does
	Run(t, memories(faults[name].wrap))
}

// Each fault makes the items that are meant for it fail.
func TestSuiteFindsFaults(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, item := range f.items {
				path := []string{"TestFaulty", "items", strings.ReplaceAll(item, " ", "_")}
				pattern := "^" + regexp.QuoteMeta(strings.Join(path, "/")) + "$"
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				run := exec.CommandContext(ctx, os.Args[0], "-test.run", strings.ReplaceAll(pattern, "/", "$/^"), "-test.timeout", "1m")
				run.Env = append(os.Environ(), faultEnv+"="+name)
				out, err := run.CombinedOutput()
				failed := strings.Contains(string(out), "--- FAIL: "+strings.Join(path, "/")+" (")
				if exit := new(exec.ExitError); !errors.As(err, &exit) || !failed {
					t.Errorf("item %q does not find it: %v\n%s", item, err, out)
				}
			}
		})
	}
}

// Each item finds a fault, so that none passes whatever a store does.
func TestEachItemFindsAFault(t *testing.T) {
	meant := make(map[string]bool)
	for _, f := range faults {
		for _, item := range f.items {
			meant[item] = true
		}
	}
	for _, item := range items() {
		if !meant[item.name] {
			t.Errorf("no fault is meant for item %q", item.name)
		}
		delete(meant, item.name)
	}
	for name := range meant {
		t.Errorf("there is no item %q", name)
	}
}
