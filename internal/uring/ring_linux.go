package uring

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The part of a ring that does not care who talks to the kernel. Under it lies core, one of two types of that name
// chosen by build tag (no interface: the calls are inlined), with the methods
//
//	openCore(entries, *params)   set up, pointers into the shared memory
//	descriptor, registerFd       the ring's descriptor; its short cut for the calling thread
//	next                         a zeroed entry or nil when the queue is full
//	pending, submit, wait, pause entries not yet taken; hand over; hand over and sleep; only sleep
//	ready, peek, cqe, advance    completions: how many, make readable, the i-th, give n back
//	close
//
// Entries are never refused: when the queue is full it is submitted, and when the kernel takes nothing (completion
// queue overflowed, no memory) further entries go to a list of our own, in order, and follow as soon as they can.
// The list is bounded by what the callers keep in flight; on a healthy system it is never used.

// Config says how large a ring should be; zero values mean the defaults of limits.go. The kernel rounds up to powers
// of two and clamps to its own limits.
type Config struct {
	Entries   uint32 // submission queue, entries
	CQEntries uint32 // completion queue, entries
}

// Handler receives a completion: the payload of its user data, the result or negated errno, the CQE flags. It runs
// on the ring's thread inside Dispatch, and may take entries and submit, but not wait, dispatch or close.
type Handler func(payload uint64, res int32, flags uint32)

// Kind is the handler of a completion.
type Kind uint8

// Ring is one io_uring with its handlers. All methods belong to the thread that called New.
type Ring struct {
	core     *core
	params   params
	handlers [KindsMax + 1]Handler
	kinds    int
	spill    []SQE // entries that found the queue full and the kernel unwilling, oldest first

	dispatching bool
	closed      bool
	bufRings    []*BufRing
	wakers      []*Waker
}

// setups are the flags tried in this order, each for an older kernel. SINGLE_ISSUER and DEFER_TASKRUN (6.1) let
// completion work run only when the owner enters, so nothing interrupts it; COOP_TASKRUN (5.19) is the next best.
// SUBMIT_ALL goes on after an entry the kernel does not like, which then completes with its error.
var setups = [...]uint32{
	setupSingleIssuer | setupDeferTaskrun | setupSubmitAll | setupClamp | setupCQSize,
	setupCoopTaskrun | setupTaskrunFlag | setupSubmitAll | setupClamp | setupCQSize,
	setupClamp | setupCQSize,
}

// New makes a ring for the calling goroutine, which must be locked to its thread (runtime.LockOSThread) and must be
// the only one to use the ring. Ask Probe first: its errors explain.
func New(cfg Config) (*Ring, error) {
	var err error
	for _, flags := range setups {
		var r *Ring
		if r, err = open(cfg, flags); !errors.Is(err, unix.EINVAL) {
			return r, err
		}
	}
	return nil, err
}

func open(cfg Config, flags uint32) (*Ring, error) {
	if cfg.Entries == 0 {
		cfg.Entries = EntriesDefault
	}
	cfg.Entries = min(cfg.Entries, EntriesMax)
	if cfg.CQEntries == 0 {
		cfg.CQEntries = cfg.Entries * CQEntriesPerEntry
	}
	r := &Ring{params: params{Flags: flags, CQEntries: cfg.CQEntries}}
	var err error
	if r.core, err = openCore(cfg.Entries, &r.params); err != nil {
		return nil, fmt.Errorf("uring: set up %d entries, flags %s: %w", cfg.Entries, setupNames(flags), err)
	}
	const need = featSingleMmap | featNoDrop | featExtArg
	if r.params.Features&need != need {
		r.core.close()
		return nil, fmt.Errorf("uring: kernel features %#x lack some of %#x: %w", r.params.Features, need, unix.EINVAL)
	}
	// A thread has 16 places for registered rings; without one an enter only costs 10 ns more.
	_ = r.core.registerFd()
	r.handlers[0] = func(uint64, int32, uint32) {}
	return r, nil
}

// Flags names the set-up flags in use, for the log.
func (r *Ring) Flags() string { return setupNames(r.params.Flags) }

// Fd is the ring's descriptor, for PrepMsgRing on other rings.
func (r *Ring) Fd() int {
	if r.closed {
		return -1
	}
	return r.core.descriptor()
}

// Handle registers fn for a new kind of completion. More than KindsMax kinds are a bug.
func (r *Ring) Handle(fn Handler) Kind {
	if r.kinds == KindsMax {
		panic("bug: more than 255 kinds of completion on one ring")
	}
	r.kinds++
	r.handlers[r.kinds] = fn
	return Kind(r.kinds)
}

// UserData is the value for SQE.UserData: the kind above, the payload's PayloadBits below. User data 0 belongs to no
// kind; its completions are dropped.
func (k Kind) UserData(payload uint64) uint64 { return uint64(k)<<PayloadBits | payload&payloadMask }

const payloadMask = 1<<PayloadBits - 1

// SQE returns the next entry, zeroed, to be filled before the next call of any method of r. It is never nil: a full
// queue is submitted, see above.
func (r *Ring) SQE() *SQE {
	if len(r.spill) == 0 {
		if s := r.core.next(); s != nil {
			return s
		}
	}
	return r.sqeWhenFull()
}

func (r *Ring) sqeWhenFull() *SQE {
	if r.closed {
		panic("bug: entry taken from a closed ring")
	}
	// An error here comes again, to somebody who can return it, with the next Submit or Wait.
	_ = r.Submit()
	if len(r.spill) == 0 {
		if s := r.core.next(); s != nil {
			return s
		}
	}
	r.spill = append(r.spill, SQE{})
	return &r.spill[len(r.spill)-1]
}

// Submit hands every entry to the kernel and does not sleep. What the kernel refuses for the moment stays queued.
func (r *Ring) Submit() error {
	if r.closed {
		return ErrClosed
	}
	for {
		r.unspill()
		before := r.core.pending()
		if err := r.core.submit(); err != nil {
			return submitError(err)
		}
		if len(r.spill) == 0 || r.core.pending() == before {
			return nil
		}
	}
}

// unspill moves entries into the queue while both last.
func (r *Ring) unspill() {
	moved := 0
	for moved < len(r.spill) {
		s := r.core.next()
		if s == nil {
			break
		}
		*s = r.spill[moved]
		moved++
	}
	if moved > 0 {
		r.spill = r.spill[:copy(r.spill, r.spill[moved:])]
	}
}

// Wait hands every entry to the kernel and sleeps until there is a completion to dispatch or the timeout has passed
// (below zero: no timeout), all in one system call. It may return early with nothing to dispatch.
func (r *Ring) Wait(timeout time.Duration) error {
	if r.closed {
		return ErrClosed
	}
	if r.core.ready() > 0 || timeout == 0 {
		return r.Submit()
	}
	if len(r.spill) > 0 {
		return r.waitRefused(timeout)
	}
	err := r.core.wait(timeout)
	if refused(err) {
		return r.waitRefused(timeout)
	}
	return submitError(err)
}

// waitRefused tries once more and, when entries are still left and nothing is ready, sleeps a little: the kernel
// lacks memory or room for completions, and both come back by dispatching, not by asking again at once.
func (r *Ring) waitRefused(timeout time.Duration) error {
	if err := r.Submit(); err != nil || r.core.ready() > 0 {
		return err
	}
	if len(r.spill) > 0 || r.core.pending() > 0 {
		if timeout < 0 || timeout > RefusedPause {
			timeout = RefusedPause
		}
	}
	return submitError(r.core.pause(timeout))
}

// refused reports that the kernel took no entry now but will later.
func refused(err error) bool { return err == unix.EAGAIN || err == unix.EBUSY }

// submitError makes an error of what a caller should hear about; interrupted, timed out and refused are not.
func submitError(err error) error {
	switch err {
	case nil, unix.EINTR, unix.ETIME, unix.EAGAIN, unix.EBUSY:
		return nil
	case unix.EEXIST:
		return fmt.Errorf("uring: enter from another thread than the ring's own: %w", err)
	case unix.EBADR:
		return fmt.Errorf("uring: the kernel had no memory and dropped completions: %w", err)
	}
	return fmt.Errorf("uring: enter: %w", err)
}

// Dispatch hands every completion that is there to its handler, in the kernel's order, and returns how many there
// were. Those that handlers cause meanwhile wait for the next call, so a turn always ends.
func (r *Ring) Dispatch() int {
	if r.dispatching || r.closed {
		panic("bug: dispatch inside a handler or on a closed ring")
	}
	r.dispatching = true
	n := r.core.peek()
	for i := range n {
		c := r.core.cqe(i)
		fn := r.handlers[c.UserData>>PayloadBits]
		if fn == nil {
			panic(fmt.Sprintf("bug: completion of unknown kind, user data %#x", c.UserData))
		}
		fn(c.UserData&payloadMask, c.Res, c.Flags)
	}
	r.core.advance(n)
	r.dispatching = false
	return int(n)
}

// RegisterBuffers pins the buffers (at most 1024) for PrepWriteFixedDSync and PrepReadFixed, which name them by their
// index here. They may be freed only after Close. EBUSY: the ring has some already. ENOMEM: RLIMIT_MEMLOCK.
func (r *Ring) RegisterBuffers(buffers [][]byte) error {
	iovs := make([]unix.Iovec, len(buffers))
	for i, b := range buffers {
		iovs[i].Base = unsafe.SliceData(b)
		iovs[i].SetLen(len(b))
	}
	_, err := register(r.Fd(), registerBuffers, unsafe.Pointer(unsafe.SliceData(iovs)), uintptr(len(iovs)))
	if err != nil {
		return fmt.Errorf("uring: register %d buffers: %w", len(buffers), err)
	}
	return nil
}

// Close cancels what is in flight, waits a bounded time until the kernel has let go of it, and frees the ring, its
// provided buffers and its wakers. No handler is called any more. A second Close does nothing.
func (r *Ring) Close() error {
	if r.dispatching {
		panic("bug: ring closed inside a handler")
	}
	if r.closed {
		return nil
	}
	r.closed = true
	r.spill = make([]SQE, 1) // sends SQE down its slow path, which complains
	err := r.cancelAll()
	for _, w := range r.wakers {
		w.close()
	}
	r.core.close()
	for _, b := range r.bufRings {
		err = errors.Join(err, b.free())
	}
	return err
}

// cancelAll cancels every request and waits for those that a kernel worker is executing: buffers are freed next, and
// the worker would read or fill memory that is somebody else's by then. Direct reads and writes cannot be cancelled,
// but they hold on to their pages themselves.
func (r *Ring) cancelAll() error {
	reg := syncCancelReg{Fd: -1, Flags: cancelAny | cancelAll, TimeoutS: int64(CancelTimeout / time.Second)}
	_, err := register(r.core.descriptor(), registerSyncCancel, unsafe.Pointer(&reg), 1)
	if err == nil || err == unix.ENOENT || err == unix.EINVAL { // EINVAL: Linux before 6.0
		return nil
	}
	return fmt.Errorf("uring: cancel what is in flight: %w", err)
}

// register is io_uring_register(2).
func register(fd int, opcode uintptr, arg unsafe.Pointer, n uintptr) (int, error) {
	v, _, errno := syscall.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), opcode, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

func setupNames(flags uint32) string {
	names := []struct {
		bit  uint32
		name string
	}{
		{setupSingleIssuer, "SINGLE_ISSUER"},
		{setupDeferTaskrun, "DEFER_TASKRUN"},
		{setupCoopTaskrun, "COOP_TASKRUN"},
		{setupTaskrunFlag, "TASKRUN_FLAG"},
		{setupSubmitAll, "SUBMIT_ALL"},
		{setupRDisabled, "R_DISABLED"},
		{setupClamp, "CLAMP"},
		{setupCQSize, "CQSIZE"},
	}
	var set []string
	for _, f := range names {
		if flags&f.bit != 0 {
			set = append(set, f.name)
		}
	}
	return strings.Join(set, "|")
}
