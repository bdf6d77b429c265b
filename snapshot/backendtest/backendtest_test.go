package backendtest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/snapshot"
)

const faultEnv = "BACKENDTEST_FAULT"

// TestMemory passes, unless [TestFaults] runs it with a fault.
func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T) snapshot.Backend {
		return &memory{values: make(map[string][]byte), fault: os.Getenv(faultEnv)}
	})
}

// faults name the item that is meant to find each of them.
var faults = map[string]string{
	"empty for nothing":  "what is not there",
	"cuts numbers":       "what was put is there",
	"keeps the first":    "the last value stays",
	"removes nothing":    "what is removed is gone",
	"cuts keys":          "keys and values are any bytes",
	"cuts values":        "a large value",
	"shares what it has": "a value belongs to who got it",
	"keeps what was put": "what was put belongs to who put it",
	"lists a page":       "each entry is listed once",
	"lists twice":        "each entry is listed once",
	"lists on":           "a listing may be broken off",
	"lists for ever":     "a listing ends with its context",
	"tears":              "readers beside a writer see whole values",
}

// Each item finds the fault that is meant for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for fault, item := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMemory$/^"+strings.ReplaceAll(item, " ", "_")+"$", "-test.timeout", "1m")
			run.Env = append(os.Environ(), faultEnv+"="+fault)
			out, err := run.CombinedOutput()
			if exit := new(exec.ExitError); !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestMemory/") {
				t.Errorf("item %q does not find it: %v\n%s", item, err, out)
			}
		})
	}
	for _, item := range items {
		found := false
		for _, name := range faults {
			found = found || name == item.name
		}
		if !found {
			t.Errorf("no fault is meant for item %q", item.name)
		}
	}
}
