package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The least of io_uring that a client needs: a ring, sends, and multishot receives
// into a group of provided buffers (io_uring_setup(2), io_uring_enter(2),
// io_uring_register(2)).
//
//	submission queue   sqes[tail & mask], then tail is published and entered
//	completion queue   cqes[head & mask] up to the kernel's tail, then head is published
//	buffers            16-byte entries {addr 8, len 4, id 2, –}, the tail in entry 0
//
// ayder's own internal/uring could do this and more. It is left alone on purpose: a
// fault in it would then be on both sides of every measurement, and cancel out.
//
// Memory that the kernel writes or reads on its own is mapped, never allocated: the
// collector need not know of it, and it stays where it is. The unsafe conversions
// below turn offsets into such mappings into pointers; the offsets come from the
// kernel's answer to setup, and the mappings live until close.

// ring is one io_uring, used by the thread that made it.
type ring struct {
	fd int

	queues []byte // both rings, one mapping (IORING_FEAT_SINGLE_MMAP, Linux 5.4)
	sqes   []sqe
	cqes   []cqe

	sqHead, sqTail *uint32 // head is the kernel's, tail ours
	cqHead, cqTail *uint32 // head is ours, tail the kernel's
	tail           uint32  // of submissions, published by enter
	head           uint32  // of completions, published by reap

	wait *waitArg // mapped, since the kernel reads it

	entries   []byte // of the buffer group
	data      []byte
	sizes     uint32 // of one buffer
	bufTail   uint32
	bufFilled uint32 // as published

	mappings [][]byte
}

// sqe is struct io_uring_sqe.
type sqe struct {
	opcode, flags  uint8
	ioPrio         uint16
	fd             int32
	off, addr      uint64
	size, opFlags  uint32
	userData       uint64
	group, persona uint16
	splice         int32
	_, _           uint64
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sqHead, sqTail, sqMask, sqRing, sqFlags, sqDropped   uint32
	sqArray, _                                           uint32
	_                                                    uint64
	cqHead, cqTail, cqMask, cqRing, cqOverflow, cqCqes   uint32
	cqFlags, _                                           uint32
	_                                                    uint64
}

// waitArg is struct io_uring_getevents_arg with the time it points to behind it.
type waitArg struct {
	sigmask     uint64
	sigmaskSize uint32
	_           uint32
	ts          uint64
	seconds, ns int64
}

// Numbers of linux/io_uring.h.
const (
	opSend, opRecv = 26, 27

	setupCQSize, setupClamp, setupSubmitAll = 1 << 3, 1 << 4, 1 << 7
	setupSingleIssuer, setupDeferTaskrun    = 1 << 12, 1 << 13
	featSingleMmap, featExtArg              = 1 << 0, 1 << 8

	enterGetEvents, enterExtArg = 1 << 0, 1 << 3
	registerBufferRing          = 22
	recvMultishot               = 1 << 1 // in ioPrio
	sqeBufferSelect             = 1 << 5
	cqeMore                     = 1 << 1
	cqeBufferShift              = 16

	offsetQueues, offsetSQEs = 0, 0x10000000
)

// errNoRing tells that io_uring cannot be used here; the reason is wrapped with it.
var errNoRing = errors.New("io_uring is not available")

// newRing sets up a ring with a group of buffers. It wants Linux 6.1; on older kernels,
// and where io_uring is forbidden, the error is errNoRing.
func newRing() (*ring, error) {
	p := params{cqEntries: ringCompletions, flags: setupCQSize | setupClamp | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSubmissions, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("%w: io_uring_setup: %w", errNoRing, errno)
	}
	r := &ring{fd: int(fd)}
	err := r.open(&p)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("%w: %w", errNoRing, err)
	}
	return r, nil
}

// open maps the queues and registers the buffers.
func (r *ring) open(p *params) error {
	const features = featSingleMmap | featExtArg
	if p.features&features != features {
		return fmt.Errorf("features %#x lack some of %#x", p.features, features)
	}
	size := max(p.sqArray+p.sqEntries*4, p.cqCqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	var err error
	if r.queues, err = r.mmap(r.fd, offsetQueues, int(size)); err != nil {
		return err
	}
	entries, err := r.mmap(r.fd, offsetSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})))
	if err != nil {
		return err
	}
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.queues[p.cqCqes])), p.cqEntries)
	r.sqHead, r.sqTail = r.word(p.sqHead), r.word(p.sqTail)
	r.cqHead, r.cqTail = r.word(p.cqHead), r.word(p.cqTail)
	for i := range p.sqEntries { // the indirection of submissions is not used
		*r.word(p.sqArray + i*4) = i
	}
	page, err := r.mmap(-1, 0, unix.Getpagesize())
	if err != nil {
		return err
	}
	r.wait = (*waitArg)(unsafe.Pointer(&page[0]))
	r.wait.ts = uint64(uintptr(unsafe.Pointer(&r.wait.seconds)))
	return r.openBuffers(ringBuffers, ringBufferBytes)
}

// word is the shared counter at an offset.
func (r *ring) word(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }

// mmap maps part of the ring, or with fd −1 memory of its own.
func (r *ring) mmap(fd int, offset int64, size int) ([]byte, error) {
	flags := unix.MAP_SHARED | unix.MAP_POPULATE
	if fd < 0 {
		flags = unix.MAP_PRIVATE | unix.MAP_ANON
	}
	mapping, err := unix.Mmap(fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of the ring: %w", size, err)
	}
	r.mappings = append(r.mappings, mapping)
	return mapping, nil
}

// openBuffers registers count buffers of size bytes as group 0, all of them the kernel's.
func (r *ring) openBuffers(count, size uint32) (err error) {
	const entryBytes = 16
	if r.entries, err = r.mmap(-1, 0, int(count*entryBytes)); err != nil {
		return err
	}
	if r.data, err = r.mmap(-1, 0, int(count*size)); err != nil {
		return err
	}
	r.sizes = size
	registration := struct {
		addr  uint64
		count uint32
		_, _  uint16
		_     [3]uint64
	}{addr: uint64(uintptr(unsafe.Pointer(&r.entries[0]))), count: count}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerBufferRing, uintptr(unsafe.Pointer(&registration)), 1, 0, 0)
	if errno != 0 {
		return fmt.Errorf("register buffers: %w", errno)
	}
	for id := range count {
		r.giveBack(uint16(id))
	}
	r.publishBuffers()
	return nil
}

// bufEntry is struct io_uring_buf.
type bufEntry struct {
	addr uint64
	size uint32
	id   uint16
	tail uint16 // meaningful in entry 0 only
}

// buffer is the memory behind an id that a completion named.
func (r *ring) buffer(id uint16) []byte {
	return r.data[uint32(id)*r.sizes : (uint32(id)+1)*r.sizes]
}

// giveBack queues a buffer for the kernel. The entry's own tail field is left alone.
func (r *ring) giveBack(id uint16) {
	list := unsafe.Slice((*bufEntry)(unsafe.Pointer(&r.entries[0])), len(r.entries)/16)
	e := &list[r.bufTail&uint32(len(list)-1)]
	e.addr, e.size, e.id = uint64(uintptr(unsafe.Pointer(&r.buffer(id)[0]))), r.sizes, id
	r.bufTail++
}

// publishBuffers hands the queued ones over. Go has no 16-bit atomic store, so the
// word of entry 0 that holds id and tail is stored as one; the kernel writes neither.
func (r *ring) publishBuffers() {
	if r.bufFilled == r.bufTail {
		return
	}
	r.bufFilled = r.bufTail
	first := (*bufEntry)(unsafe.Pointer(&r.entries[0]))
	word := (*uint32)(unsafe.Pointer(&r.entries[12])) // little-endian: id low, tail high
	atomic.StoreUint32(word, uint32(first.id)|r.bufTail<<16)
}

// submission is the next free entry, zeroed. A full queue is submitted first.
func (r *ring) submission() (*sqe, error) {
	for r.tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.sqes)) {
		if err := r.enter(0, 0); err != nil {
			return nil, err
		}
	}
	s := &r.sqes[r.tail&uint32(len(r.sqes)-1)]
	*s = sqe{}
	r.tail++
	return s, nil
}

// enter submits everything and waits for least completions, for at most ns. Time
// running out, and signals, are no errors.
func (r *ring) enter(least uint32, ns int64) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	submit := r.tail - atomic.LoadUint32(r.sqHead)
	r.wait.seconds, r.wait.ns = ns/1e9, ns%1e9
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(submit), uintptr(least),
		enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(r.wait)), unsafe.Offsetof(r.wait.seconds))
	switch errno {
	case 0, unix.ETIME, unix.EINTR, unix.EBUSY, unix.EAGAIN: // the last two: completions must be reaped first
		return nil
	}
	return fmt.Errorf("io_uring_enter: %w", errno)
}

// next takes one completion off the queue.
func (r *ring) next() (cqe, bool) {
	if r.head == atomic.LoadUint32(r.cqTail) {
		return cqe{}, false
	}
	c := r.cqes[r.head&uint32(len(r.cqes)-1)]
	r.head++
	atomic.StoreUint32(r.cqHead, r.head)
	return c, true
}

// close ends the ring and everything still under way in it.
func (r *ring) close() {
	_ = unix.Close(r.fd)
	for _, mapping := range r.mappings {
		_ = unix.Munmap(mapping)
	}
	r.mappings = nil
}
