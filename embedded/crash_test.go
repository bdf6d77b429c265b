package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
)

// Environment variables that make the test binary a child which publishes
// until it is killed.
const (
	childDir     = "HEADWATER_TEST_CHILD_DIR"
	childRelaxed = "HEADWATER_TEST_CHILD_RELAXED"
)

// child publishes the numbers from 1 and prints each one that was acknowledged.
func child(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := embedded.Start(ctx, dir, &embedded.Options{Relaxed: os.Getenv(childRelaxed) == "true"})
	fail(err)
	nc, err := s.Connect()
	fail(err)
	js, err := jetstream.New(nc)
	fail(err)
	_, err = js.CreateStream(ctx, logConfig(1))
	fail(err)
	for n := 1; ; n++ {
		_, err := js.Publish(ctx, "log.numbers", []byte(strconv.Itoa(n)))
		fail(err)
		fmt.Println(n)
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed=%t", relaxed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acked := killed(t, dir, relaxed)
			js := connect(t, open(t, dir, nil))
			requireMessages(t, js, acked)
			if _, err := js.Publish(t.Context(), "log.numbers", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// killed runs a child on the folder, kills it while it publishes, and returns
// the last number it saw acknowledged.
func killed(t *testing.T, dir string, relaxed bool) (acked uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%t", childRelaxed, relaxed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill() // SIGKILL

	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if acked, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			break // cut short by the kill
		}
		if acked == 200 {
			requireLocked(t, dir) // by another process
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if acked < 200 {
		t.Fatalf("the child ended after %d messages", acked)
	}
	return acked
}
