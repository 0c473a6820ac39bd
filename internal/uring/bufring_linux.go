package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// A ring of provided buffers: the kernel takes one only when bytes have arrived, so thousands of idle connections
// share a few megabytes. We own the tail, the kernel its head, which it keeps to itself:
//
//	entry 0   | addr 8 | len 4 | id 2 | TAIL 2 |      the tail lies in the spare field of entry 0
//	entry 1   | addr 8 | len 4 | id 2 |  spare |
//	…
//
// The tail must become visible after the entries before it. Go has no 16-bit atomic, so Publish stores the 32-bit
// word of entry 0 that holds id and tail; the kernel writes neither, and reads the id only behind the tail.

// bufEntry is struct io_uring_buf.
type bufEntry struct {
	Addr uint64
	Len  uint32
	ID   uint16
	Tail uint16 // meaningful in entry 0 only
}

// BufRing is a group of equal buffers that receives pick from. It belongs to the ring's thread.
type BufRing struct {
	ring    *Ring
	group   uint16
	size    uint32
	tail    uint16 // next slot to fill, published or not
	entries []bufEntry
	memory  []byte // the entries' mapping
	data    []byte // the buffers, one after the other
}

// NewBufRing registers a group of entries buffers (a power of two, at most BufRingEntriesMax) of size bytes each and
// fills it. The group number is the caller's choice, once per ring.
func (r *Ring) NewBufRing(entries, size uint32, group uint16) (*BufRing, error) {
	if entries == 0 || entries > BufRingEntriesMax || entries&(entries-1) != 0 || size == 0 {
		return nil, fmt.Errorf("uring: %d provided buffers of %d bytes: want a power of two up to %d, not empty",
			entries, size, BufRingEntriesMax)
	}
	b := &BufRing{ring: r, group: group, size: size}
	if err := b.open(entries); err != nil {
		return nil, errors.Join(fmt.Errorf("uring: provide %d buffers as group %d: %w", entries, group, err), b.free())
	}
	r.bufRings = append(r.bufRings, b)
	for id := range entries {
		b.Put(uint16(id))
	}
	b.Publish()
	return b, nil
}

func (b *BufRing) open(entries uint32) (err error) {
	if b.memory, err = Anon(int(entries) * int(unsafe.Sizeof(bufEntry{}))); err != nil {
		return err
	}
	if b.data, err = Anon(int(entries) * int(b.size)); err != nil {
		return err
	}
	b.entries = unsafe.Slice((*bufEntry)(unsafe.Pointer(&b.memory[0])), entries)
	reg := bufReg{RingAddr: address(b.memory), RingEntries: entries, Group: b.group}
	_, err = register(b.ring.Fd(), registerPbufRing, unsafe.Pointer(&reg), 1)
	return err
}

// Group is the number given to NewBufRing.
func (b *BufRing) Group() uint16 { return b.group }

// Len is how many buffers the group has.
func (b *BufRing) Len() int { return len(b.entries) }

// Bytes is the whole buffer with this id; its bytes are ours from the completion that names it until Put.
func (b *BufRing) Bytes(id uint16) []byte {
	start := int(id) * int(b.size)
	return b.data[start : start+int(b.size) : start+int(b.size)]
}

// Put queues the buffer for the kernel; it is given with the next Publish. Each id must be put once per completion.
func (b *BufRing) Put(id uint16) {
	e := &b.entries[int(b.tail)&(len(b.entries)-1)]
	e.Addr, e.Len, e.ID = address(b.Bytes(id)), b.size, id
	b.tail++
}

// Publish gives the kernel every buffer put so far.
func (b *BufRing) Publish() {
	first := &b.entries[0]
	// Little-endian: the id is the low half of the word, the tail the high half.
	word := (*uint32)(unsafe.Pointer(&first.ID))
	atomic.StoreUint32(word, uint32(b.tail)<<16|uint32(first.ID))
}

// Close takes the group back. Cancel the receives that use it first, and wait for their completions. Close of the
// ring does the same for groups still there; a second Close does nothing.
func (b *BufRing) Close() error {
	if b.ring.closed || b.data == nil {
		return nil
	}
	reg := bufReg{Group: b.group}
	if _, err := register(b.ring.Fd(), unregisterPbufRing, unsafe.Pointer(&reg), 1); err != nil {
		return fmt.Errorf("uring: take back buffer group %d: %w", b.group, err)
	}
	return b.free()
}

func (b *BufRing) free() error {
	err := errors.Join(FreeAnon(b.memory), FreeAnon(b.data))
	b.memory, b.data, b.entries = nil, nil, nil
	return err
}
