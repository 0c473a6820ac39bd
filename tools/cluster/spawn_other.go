//go:build !linux

package main

import "syscall"

// childAttributes puts a child into a process group of its own, so that ^C at the terminal reaches only this program,
// which then ends its children in its own way. If it is killed itself, they stay.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
