package aof

import (
	"fmt"
	"sync"
	"sync/atomic"

	"ayder/internal/uring"
)

// An image is a segment in memory, byte for byte where the file has it, outside the Go heap and page-aligned.
// Frames are copied into it once; the durable write and every read of recent messages are done from there.
//
// Readers on other threads may hold an image when the log gives it up, so it is counted: the log has one
// reference, each reader one while it reads. The last one hands the memory to the pool, which the keeper empties
// (unmapping 64 MiB takes milliseconds: never on a loop). Memory is used again as it is: Append clears the
// rest of the last block behind each frame, so that no byte of an earlier life is ever written or read. The
// image object itself is new each time, so that a reader that comes late finds a count of zero, not a stranger.

type image struct {
	mem  []byte
	refs atomic.Int32
	pool *imagePool
}

// acquire takes a reference; false means that the log has given the image up.
func (m *image) acquire() bool {
	for {
		n := m.refs.Load()
		if n == 0 {
			return false
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back.
func (m *image) release() {
	switch n := m.refs.Add(-1); {
	case n == 0:
		m.pool.put(m.mem)
	case n < 0:
		panic("bug: image released more often than acquired")
	}
}

// imagePool keeps the memory of images that nobody uses.
type imagePool struct {
	mapped atomic.Int64 // bytes, in use or not

	mu   sync.Mutex
	free [][]byte
}

// get returns an image of size bytes with one reference. Its bytes are undefined.
func (p *imagePool) get(size int64) (*image, error) {
	m := &image{pool: p, mem: p.take(size)}
	if m.mem == nil {
		b, err := uring.Anon(int(size))
		if err != nil {
			return nil, fmt.Errorf("aof: memory for a segment: %w", err)
		}
		p.mapped.Add(size)
		m.mem = b
	}
	m.refs.Store(1)
	return m, nil
}

func (p *imagePool) take(size int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if int64(len(b)) == size {
			p.free = append(p.free[:i], p.free[i+1:]...)
			return b
		}
	}
	return nil
}

func (p *imagePool) put(b []byte) {
	p.mu.Lock()
	p.free = append(p.free, b)
	p.mu.Unlock()
}

// trim unmaps what is unused beyond keep images.
func (p *imagePool) trim(keep int) {
	p.mu.Lock()
	var drop [][]byte
	if len(p.free) > keep {
		drop = append(drop, p.free[keep:]...)
		p.free = p.free[:keep]
	}
	p.mu.Unlock()
	for _, b := range drop {
		p.mapped.Add(-int64(len(b)))
		mustFree(b)
	}
}

// anonBlocks returns page-aligned zeroed memory of n blocks, and what gives it back.
func anonBlocks(n int) ([]byte, func(), error) {
	b, err := uring.Anon(n * BlockBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("aof: %w", err)
	}
	return b, func() { mustFree(b) }, nil
}

// mustFree unmaps memory that Anon gave: that can only fail for an address that is not ours.
func mustFree(b []byte) {
	if err := uring.FreeAnon(b); err != nil {
		panic("bug: " + err.Error())
	}
}

// blockUp is n rounded up to whole blocks.
func blockUp(n int64) int64 { return (n + BlockBytes - 1) &^ (BlockBytes - 1) }

// blockDown is n rounded down to whole blocks.
func blockDown(n int64) int64 { return n &^ (BlockBytes - 1) }
