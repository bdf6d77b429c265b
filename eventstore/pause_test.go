//go:build unix

package eventstore_test

import (
	"os/exec"
	"syscall"
	"testing"
)

// apart gives a process a group of its own. If this process ends while the
// other one is paused, the system wakes and ends it: a group with a stopped
// process that has lost its parent gets SIGHUP and SIGCONT.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// pause stops a node in the middle of whatever it does.
func (n *node) pause(t *testing.T) { n.signal(t, syscall.SIGSTOP) }

// resume lets it go on.
func (n *node) resume(t *testing.T) { n.signal(t, syscall.SIGCONT) }

func (n *node) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
