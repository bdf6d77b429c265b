package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// damaged returns a folder with a log of ten commits in which a bit of one is
// flipped, as a bad disk does.
func damaged(t *testing.T, position int) (dir string) {
	t.Helper()
	dir = inFolder(t, func(log *eventstore.Store) {
		for i := range 10 {
			add(t, log, eventstore.StreamID{Kind: "order", ID: fmt.Sprint(i % 2)}, nil, jsonEvent("counted", fmt.Sprintf(`{"number":"commit %d"}`, i+1)))
		}
	})
	file := filepath.Join(dir, "jetstream", "$G", "streams", "shop", "msgs", "1.blk")
	block, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(block, fmt.Appendf(nil, `"commit %d"`, position))
	if at < 0 {
		t.Fatal("the block has no such commit")
	}
	block[at+1] ^= 1
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestVerifyDamage(t *testing.T) {
	t.Parallel()
	dir := damaged(t, 4)
	r := run(t, "verify", "-data", dir)
	if want := "headwater: log shop is damaged in 2 places\n"; r.status != 1 || r.errors != want {
		t.Errorf("exit status %d, complained %q, want %q", r.status, r.errors, want)
	}
	golden(t, "damage.txt", r.out)
	r = run(t, "verify", "-json", "-data", dir)
	if r.status != 1 {
		t.Errorf("exit status %d", r.status)
	}
	golden(t, "damage.jsonl", r.out)

	// Other commands do not pass over it.
	for _, args := range [][]string{{"export"}, {"cat", "order/1"}} {
		if r := run(t, append(args, "-data", dir)...); r.status != 1 || r.errors == "" {
			t.Errorf("%s: exit status %d, complained %q", args[0], r.status, r.errors)
		}
	}
}
