//go:build !unix

package eventstore_test

import (
	"os/exec"
	"testing"
)

func apart(*exec.Cmd) {}

func (n *node) pause(t *testing.T) { t.Skip("a process cannot be paused here") }

func (n *node) resume(*testing.T) {}
