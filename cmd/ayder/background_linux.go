package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// schedIdle is SCHED_IDLE of sched(7): below every nice value, and no privilege is needed for it.
const schedIdle = 5

// background makes the calling thread one that runs where nothing else wants to (docs/decisions/0015-queries-beside-producers.md).
// Where the kernel refuses that, being as nice as can be is most of it; where it refuses that, too, queries run all the same.
func background() {
	if unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedIdle}, 0) != nil {
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, unix.Gettid(), 19)
	}
}
