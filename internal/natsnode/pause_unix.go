//go:build unix

package natsnode

import (
	"os/exec"
	"syscall"
	"testing"
)

// Apart gives a process a group of its own. If this process ends while the other one is
// paused, the system wakes and ends it: a group with a stopped process that has lost its
// parent gets SIGHUP and SIGCONT.
func Apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Pause stops the process in the middle of whatever it does.
func (n *Node) Pause(t testing.TB) { n.signal(t, syscall.SIGSTOP) }

// Resume lets it go on.
func (n *Node) Resume(t testing.TB) { n.signal(t, syscall.SIGCONT) }

func (n *Node) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
