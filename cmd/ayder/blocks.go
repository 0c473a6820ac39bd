package main

import (
	"sync"

	"ayder/internal/uring"
)

// Memory of rocket topics: blocks outside the Go heap, so that gigabytes of messages do not make the collector think that it
// may let as much garbage pile up. A few that are not in use are kept for the next ones. The others are unmapped by a
// goroutine: a loop that drops a topic drops a thousand of them, and unmapping takes tens of microseconds each.

const (
	blockBytesMin   = 64 << 10 // a smaller block is ordinary memory
	blocksKeptBytes = 32 << 20 // not in use, for use again
)

// blocks implements engine.Memory.
type blocks struct {
	mu       sync.Mutex
	free     map[int][][]byte // by size
	kept     int              // bytes in free
	doomed   [][]byte
	sweeping bool
}

// Get is engine.Memory's. Where the system gives nothing the heap does, and its limit counts.
func (b *blocks) Get(size int) []byte {
	if size < blockBytesMin {
		return make([]byte, size)
	}
	if block := b.take(size); block != nil {
		return block
	}
	if block, err := uring.Anon(size); err == nil {
		return block
	}
	return make([]byte, size)
}

func (b *blocks) take(size int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.free[size]
	if len(of) == 0 {
		return nil
	}
	block := of[len(of)-1]
	b.free[size] = of[:len(of)-1]
	b.kept -= size
	return block
}

// Put is engine.Memory's.
func (b *blocks) Put(block []byte) {
	if len(block) < blockBytesMin {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept+len(block) <= blocksKeptBytes {
		if b.free == nil {
			b.free = make(map[int][][]byte)
		}
		b.free[len(block)] = append(b.free[len(block)], block)
		b.kept += len(block)
		return
	}
	b.doomed = append(b.doomed, block)
	if !b.sweeping {
		b.sweeping = true
		go b.sweep()
	}
}

// sweep unmaps what is too much, until there is none.
func (b *blocks) sweep() {
	for {
		b.mu.Lock()
		doomed := b.doomed
		b.doomed, b.sweeping = nil, len(doomed) > 0
		b.mu.Unlock()
		if len(doomed) == 0 {
			return
		}
		for _, block := range doomed {
			_ = uring.FreeAnon(block) // an error says that it came from the heap: then the collector takes it
		}
	}
}
