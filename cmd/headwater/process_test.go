package main_test

import (
	"bufio"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/headwater-go/headwater/eventstore"
)

// Ctrl-C ends a server in good order.
func TestInterruptedProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	cmd := child(t, "server", "-data", dir, "-listen", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if url, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(url, "nats://127.0.0.1:") {
		t.Errorf("it printed %q, %v", url, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	succeed(t, "logs", "-data", dir)
}

// A reader that has seen enough is no reason to complain.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, func(log *eventstore.Store) { fillRandom(t, log, seeded(t), 300) })
	cmd := child(t, "export", "-data", dir)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var status *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &status) || status.ExitCode() != 1 || complaints.Len() > 0 {
		t.Errorf("%v, complained %q", err, complaints.String())
	}
}
