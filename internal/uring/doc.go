// Package uring is the io_uring of one loop: submission entries in, completions out to handlers.
//
// A Ring belongs to one locked OS thread. The thread fills entries (SQE and the Prep methods), calls Wait, which
// hands them to the kernel and sleeps in the same system call, and then Dispatch, which gives every completion to
// the handler whose Kind is in the top eight bits of its user data:
//
//	 63      56 55                                   0
//	+----------+--------------------------------------+
//	|   kind   |  payload, meaning known to the kind  |
//	+----------+--------------------------------------+
//
// So sockets, log writes and wake-ups share one ring, one wait and one table look-up, and know nothing of each other.
// The only method for other threads is Waker.Wake.
//
// Two implementations of the small inner part (set up, next entry, submit, wait, completions; see core in
// ring_linux.go) exist: ring_sys_linux.go, plain system calls, the default; and ring_giouring_linux.go on
// github.com/pawelgaczynski/giouring, behind the build tag giouring, because at its newest version that library
// links with Go 1.23 and later only under -ldflags=-checklinkname=0. One test-suite runs over whichever is built in.
//
// Memory the kernel sees (rings, provided buffers, the timeout of a wait) is mapped outside the Go heap by Anon: the
// collector neither moves, scans nor frees it. Buffers given to the Prep methods must come from there too.
//
// Rejected: SQPOLL (burns a core), fixed files (10 ns per call for a second table of descriptors), linked
// write→fsync pairs (slower than one write with RWF_DSYNC), RawSyscall for waits (saves 20 ns, keeps the P, and the
// collector then waits for the loop).
package uring
