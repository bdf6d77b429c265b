package modeltest_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/headwater-go/headwater/projection/modeltest"
)

const faultEnv = "MODELTEST_FAULT"

// faults and the items that are meant to find them.
var faults = []struct{ fault, item string }{
	{"keeps the first", "records are kept"},
	{"empty for nothing", "records are kept"},
	{"removes nothing", "a record is removed"},
	{"sees what was before", "a transaction sees its own records"},
	{"takes A for a", "keys and values are any text"},
	{"cuts spaces", "keys and values are any text"},
	{"cuts keys", "keys and values are any text"},
	{"has wildcards", "a listing goes by the prefix"},
	{"lists without case", "a listing goes by the prefix"},
	{"writes over", "a record that was read is not changed"},
	{"keeps what was put", "a record belongs to the model when it is put"},
	{"keeps records", "an error undoes records"},
	{"has an error of its own", "an error undoes records"},
	{"keeps data", "an error undoes the read model"},
	{"keeps what is shown", "an error undoes generations"},
	{"shows at once", "an error undoes generations"},
	{"commits after a panic", "a panic undoes all"},
	{"swallows a panic", "a panic undoes all"},
	{"goes on for ever", "nothing is done after the context"},
	{"commits after its context", "a context that ends undoes all"},
	{"commits in vain", "a context that ends undoes all"},
	{"calls twice", "f is called once"},
	{"lets all write", "of two that change a record none is lost"},
	{"lets all write", "of two that make a record one sees the other"},
	{"lets all write", "a record that was read stays"},
	{"lets all write", "a record that was not there is not made"},
	{"works on what is there", "what is not committed is not read"},
	{"reads on", "records are of one moment"},
	{"has one generation", "generations are kept apart"},
	{"makes what is missing", "a generation that is not there"},
	{"has errors of its own", "a generation that is not there"},
	{"makes anew", "a generation is made once"},
	{"shows the first", "readers see what is shown"},
	{"shows something", "readers see nothing"},
	{"shows at once", "readers see whole transactions"},
	{"drops nothing", "a generation is dropped"},
	{"drops all", "a generation is dropped"},
	{"begins with what was", "a number is used again"},
	{"cuts names", "projections are kept apart"},
	{"loses what is on the disk", "everything is there when it is opened again"},
	{"does not close", "records are kept"},
	{"lets all write", "two processes"},
}

// Each item finds the faults that are meant for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.fault+"/"+f.item, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestFake$/^"+strings.ReplaceAll(f.item, " ", "_")+"$", "-test.timeout", "1m")
			run.Env = append(os.Environ(), faultEnv+"="+f.fault)
			out, err := run.CombinedOutput()
			if exit := new(exec.ExitError); !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestFake/") {
				t.Errorf("it is not found: %v\n%s", err, out)
			}
		})
	}
	var found []string
	for _, f := range faults {
		found = append(found, f.item)
	}
	for _, item := range modeltest.Items() {
		if !slices.Contains(found, item) {
			t.Errorf("no fault is meant for item %q", item)
		}
	}
}
