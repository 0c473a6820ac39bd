package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Probe finds out whether io_uring can carry this program, by using it: set up a ring, ask for the operations, and
// receive one byte by a multishot receive into a provided buffer (Linux 6.0, the newest thing needed). Kernel
// versions are not compared: vendors backport, sandboxes lie.

// sysctlDisabled is where the administrator switches io_uring off: 1 except for a group, 2 for everybody.
const sysctlDisabled = "/proc/sys/kernel/io_uring_disabled"

const probeBufferBytes = 64

// probeTimeout is far more than the kernel needs to complete what is ready already.
const probeTimeout = 5 * time.Second

// operations that must be there, with the names the man pages use.
var operations = [...]struct {
	op   uint8
	name string
}{
	{opAccept, "ACCEPT"},
	{opRecv, "RECV"},
	{opSend, "SEND"},
	{opWrite, "WRITE"},
	{opClose, "CLOSE"},
	{opAsyncCancel, "ASYNC_CANCEL"},
	{opPollAdd, "POLL_ADD"},
	{opMsgRing, "MSG_RING"},
}

// Probe returns nil when io_uring works here, else an error (ErrUnsupported inside) that says what is missing and
// how to get it. It takes well under a millisecond and leaves nothing behind.
func Probe() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 8, CQEntries: 16})
	if err != nil {
		return unsupported(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.probeOperations(); err != nil {
		return unsupported(err)
	}
	if err := r.probeReceive([]byte{42}); err != nil {
		return unsupported(err)
	}
	return nil
}

func (r *Ring) probeOperations() error {
	p := new(probeReg)
	if _, err := register(r.Fd(), registerProbe, unsafe.Pointer(p), probeOps); err != nil {
		return fmt.Errorf("uring: ask for operations: %w", err)
	}
	var missing []string
	for _, o := range operations {
		if o.op > p.LastOp || p.Ops[o.op].Flags&probeOpSupported == 0 {
			missing = append(missing, o.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("uring: the kernel lacks %s: %w", strings.Join(missing, ", "), unix.EINVAL)
	}
	return nil
}

// probeReceive sends a message to itself. Only the first completion counts: a kernel that cannot ask a socket whether more is there
// (before Linux 6.17 none can ask this kind) tries again at once, finds no second buffer, and says so in another one.
func (r *Ring) probeReceive(message []byte) error {
	const group = 1
	b, err := r.NewBufRing(1, probeBufferBytes, group)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("uring: socketpair: %w", err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	if _, err := unix.Write(pair[1], message); err != nil {
		return fmt.Errorf("uring: write to socketpair: %w", err)
	}
	const none = -int32(unix.ETIME)
	result, want := none, int32(min(len(message), probeBufferBytes))
	s := r.SQE()
	s.PrepRecvMultishot(pair[0], b.Group())
	s.UserData = r.Handle(func(_ uint64, res int32, flags uint32) {
		if result != none {
			return
		}
		if id, ok := BufferID(flags); res == want && (!ok || !More(flags) || b.Bytes(id)[0] != message[0]) {
			res = -int32(unix.EINVAL)
		}
		result = res
	}).UserData(0)
	if err := r.Wait(probeTimeout); err != nil {
		return err
	}
	r.Dispatch()
	switch {
	case result == want:
		return nil
	case result < 0:
		return fmt.Errorf("uring: multishot receive: %w", syscall.Errno(-result))
	}
	return fmt.Errorf("uring: multishot receive: %d bytes of %d: %w", result, want, unix.EINVAL)
}

// unsupported explains err with what the system says about io_uring.
func unsupported(err error) error {
	disabled, readErr := os.ReadFile(sysctlDisabled)
	if readErr != nil {
		disabled = nil // before Linux 6.6 there is no such switch
	}
	return fmt.Errorf("%w: %s (%w)", ErrUnsupported, explain(err, strings.TrimSpace(string(disabled)), release()), err)
}

// explain says in words what err means where the switch has this value ("" if there is none) on this kernel.
func explain(err error, disabled, kernel string) string {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "the kernel has no io_uring, or a sandbox hides it; " +
			"use Linux 6.1 or newer with CONFIG_IO_URING, and allow the io_uring_* system calls in the sandbox"
	case errors.Is(err, unix.EPERM) && disabled == "2":
		return "switched off by kernel.io_uring_disabled=2; enable it with: sysctl -w kernel.io_uring_disabled=0"
	case errors.Is(err, unix.EPERM) && disabled == "1":
		return "kernel.io_uring_disabled=1 leaves it to one group; enable it with: " +
			"sysctl -w kernel.io_uring_disabled=0, or put this process into the group of kernel.io_uring_group"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "forbidden by a seccomp profile or security module, as in a default container; allow io_uring_setup, " +
			"io_uring_enter and io_uring_register in the profile (docker run --security-opt seccomp=profile.json)"
	case errors.Is(err, unix.EINVAL):
		return "kernel " + kernel + " is too old; Linux 6.1 or newer is needed"
	case errors.Is(err, unix.ENOMEM):
		return "no memory may be locked for the ring; raise the limit with ulimit -l, LimitMEMLOCK=infinity " +
			"(systemd) or --ulimit memlock=-1 (docker)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "no file descriptor left; raise the limit with ulimit -n"
	}
	return "it does not work on kernel " + kernel
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "of unknown version"
	}
	return unix.ByteSliceToString(u.Release[:])
}
