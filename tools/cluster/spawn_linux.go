package main

import "syscall"

// childAttributes puts a child into a process group of its own, so that ^C at the terminal reaches only this program,
// which then ends its children in its own way. Should it be killed itself, the kernel ends them, as soon as the thread that started
// them is gone: the caller holds on to its thread.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
