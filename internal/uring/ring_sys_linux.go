//go:build !giouring

package uring

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The inner seam on plain system calls. The kernel shares two maps with us: the ring heads, tails and completions
// (one map since Linux 5.4), and the submission entries. Only the tail of the submissions and the head of the
// completions are ours to store; the other two are the kernel's, and every crossing is one atomic load or store.
// The submission index array is written once as the identity, so slot i always holds entry i.

const (
	enterGetEvents  = 1 << 0
	enterExtArg     = 1 << 3
	enterRegistered = 1 << 4
	sqCQOverflow    = 1 << 1
	sqTaskrun       = 1 << 2
	offSQRing       = 0
	offSQEs         = 0x10000000
	scratchSize     = 64
)

// getEventsArg is struct io_uring_getevents_arg; it and the time it points to live in scratch memory off the heap.
type getEventsArg struct {
	SigMask     uint64
	SigMaskSize uint32
	_           uint32
	TS          uint64
}

type core struct {
	fd         int
	enterFd    uintptr // fd, or its index among the thread's registered rings
	enterFlags uintptr

	sqes                    []SQE
	sqHead, sqTail, sqFlags *uint32
	tail                    uint32 // ours; published to sqTail on enter. Invariant: tail-*sqHead <= len(sqes)
	eventsOnSubmit          bool   // DEFER_TASKRUN: completions appear only on enter with GETEVENTS

	cqes           []CQE
	cqHead, cqTail *uint32

	arg *getEventsArg
	ts  *unix.Timespec

	rings, entries, scratch []byte // the mappings
}

// Implementation names what is built in.
func Implementation() string { return "sys" }

// openCore sets up a ring; p holds the flags and sizes wanted and receives those granted.
func openCore(entries uint32, p *params) (*core, error) {
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return nil, errno
	}
	c := &core{fd: int(fd), enterFd: fd, eventsOnSubmit: p.Flags&setupDeferTaskrun != 0}
	if err := c.mapMemory(p); err != nil {
		c.close()
		return nil, err
	}
	c.point(p)
	return c, nil
}

func (c *core) mapMemory(p *params) (err error) {
	size := max(p.SQ.Array+p.SQEntries*4, p.CQ.CQEs+p.CQEntries*uint32(unsafe.Sizeof(CQE{})))
	if c.rings, err = mapRing(c.fd, offSQRing, int(size)); err != nil {
		return err
	}
	if c.entries, err = mapRing(c.fd, offSQEs, int(p.SQEntries)*int(unsafe.Sizeof(SQE{}))); err != nil {
		return err
	}
	c.scratch, err = Anon(scratchSize)
	return err
}

func mapRing(fd int, off int64, size int) ([]byte, error) {
	b, err := unix.Mmap(fd, off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of ring at %#x: %w", size, off, err)
	}
	return b, nil
}

// point sets the pointers into the mapped memory.
func (c *core) point(p *params) {
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&c.rings[off])) }
	c.sqHead, c.sqTail, c.sqFlags = word(p.SQ.Head), word(p.SQ.Tail), word(p.SQ.Flags)
	c.cqHead, c.cqTail = word(p.CQ.Head), word(p.CQ.Tail)
	c.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&c.entries[0])), p.SQEntries)
	c.cqes = unsafe.Slice((*CQE)(unsafe.Pointer(&c.rings[p.CQ.CQEs])), p.CQEntries)
	for i, array := 0, unsafe.Slice(word(p.SQ.Array), p.SQEntries); i < len(array); i++ {
		array[i] = uint32(i)
	}
	c.arg = (*getEventsArg)(unsafe.Pointer(&c.scratch[0]))
	c.ts = (*unix.Timespec)(unsafe.Pointer(&c.scratch[unsafe.Sizeof(getEventsArg{})]))
}

func (c *core) descriptor() int { return c.fd }

// registerFd gives the calling thread a short cut to the ring, about 10 ns per enter.
func (c *core) registerFd() error {
	u := rsrcUpdate{Offset: ringFdOffsetAny, Data: uint64(c.fd)}
	if _, err := register(c.fd, registerRingFds, unsafe.Pointer(&u), 1); err != nil {
		return err
	}
	c.enterFd, c.enterFlags = uintptr(u.Offset), enterRegistered
	return nil
}

// next returns a zeroed entry, nil when the queue is full.
func (c *core) next() *SQE {
	if c.tail-atomic.LoadUint32(c.sqHead) >= uint32(len(c.sqes)) {
		return nil
	}
	s := &c.sqes[c.tail&uint32(len(c.sqes)-1)]
	*s = SQE{}
	c.tail++
	return s
}

// pending is how many entries the kernel has not taken yet.
func (c *core) pending() uint32 { return c.tail - atomic.LoadUint32(c.sqHead) }

// submit hands over what is pending and never sleeps.
func (c *core) submit() error {
	var flags uintptr
	if c.eventsOnSubmit || atomic.LoadUint32(c.sqFlags)&(sqCQOverflow|sqTaskrun) != 0 {
		flags = enterGetEvents
	}
	return c.enter(c.pending(), 0, flags, 0, 0)
}

// wait hands over what is pending and sleeps until there is a completion or the timeout (<0: none) has passed.
func (c *core) wait(timeout time.Duration) error { return c.sleep(c.pending(), timeout) }

// pause sleeps as wait does but hands over nothing.
func (c *core) pause(timeout time.Duration) error { return c.sleep(0, timeout) }

func (c *core) sleep(submit uint32, timeout time.Duration) error {
	if timeout < 0 {
		return c.enter(submit, 1, enterGetEvents, 0, 0)
	}
	*c.ts = unix.NsecToTimespec(int64(timeout))
	c.arg.TS = uint64(uintptr(unsafe.Pointer(c.ts)))
	return c.enter(submit, 1, enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(c.arg)), unsafe.Sizeof(*c.arg))
}

// enter is io_uring_enter(2). It is always Syscall, never RawSyscall: a loop that sleeps must let go of its P.
func (c *core) enter(submit, wait uint32, flags, arg, size uintptr) error {
	atomic.StoreUint32(c.sqTail, c.tail)
	_, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, c.enterFd, uintptr(submit), uintptr(wait),
		flags|c.enterFlags, arg, size)
	if errno != 0 {
		return errno
	}
	return nil
}

// ready is how many completions wait to be read.
func (c *core) ready() uint32 { return atomic.LoadUint32(c.cqTail) - *c.cqHead }

// peek is ready, and makes that many completions readable by cqe.
func (c *core) peek() uint32 { return c.ready() }

// cqe is the i-th readable completion; it stays valid until advance.
func (c *core) cqe(i uint32) *CQE { return &c.cqes[(*c.cqHead+i)&uint32(len(c.cqes)-1)] }

// advance gives n completion slots back to the kernel.
func (c *core) advance(n uint32) { atomic.StoreUint32(c.cqHead, *c.cqHead+n) }

// close frees everything; c is dead afterwards.
func (c *core) close() {
	if c.enterFlags&enterRegistered != 0 {
		u := rsrcUpdate{Offset: uint32(c.enterFd)}
		_, _ = register(c.fd, unregisterRingFds, unsafe.Pointer(&u), 1)
	}
	for _, m := range [][]byte{c.rings, c.entries, c.scratch} {
		if m != nil {
			_ = unix.Munmap(m)
		}
	}
	_ = unix.Close(c.fd)
}
