//go:build !unix

package postgres

import "syscall"

func attributes(*owner) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
