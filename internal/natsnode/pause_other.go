//go:build !unix

package natsnode

import (
	"os/exec"
	"testing"
)

// Apart does nothing here.
func Apart(*exec.Cmd) {}

// Pause skips the test.
func (n *Node) Pause(t testing.TB) { t.Skip("a process cannot be paused here") }

// Resume does nothing here.
func (n *Node) Resume(testing.TB) {}
