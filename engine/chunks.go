package engine

import (
	"sort"
	"sync"
	"sync/atomic"

	"ayder/internal/record"
)

// Chunks: the messages of a rocket partition, encoded as in the log, back to back in blocks of memory.
//
//	┌──────────────┐ ┌──────────────┐ ┌───────┬──────┐
//	│ oldest …     │ │              │ │ …     │ free │      a message never spans two
//	└──────────────┘ └──────────────┘ └───────┴──────┘
//	 base           ↑ base           ↑ base    ↑ used
//
// The owner appends; any goroutine reads. A chunk's bytes below what it has published never change, so readers need no lock
// while they read, only to find the chunk and to keep its memory from being used again: it is counted, like the
// log's images. The lock is held for a binary search, and by the owner once per chunk.
//
// Blocks come from outside the Go heap (Config.Memory): a heap of gigabytes that are alive would put the collector off
// until as much garbage again had piled up. A partition begins with small chunks and doubles them, because most topics
// are small.

// Memory gives blocks of memory and takes them back. Any goroutine may call it; it must not block for long.
type Memory interface {
	// Get returns size bytes, whatever they contain.
	Get(size int) []byte
	// Put takes back what Get returned.
	Put(b []byte)
}

// heap is Memory for engines that are given none.
type heap struct{}

func (heap) Get(size int) []byte { return make([]byte, size) }
func (heap) Put([]byte)          {}

// memory counts what all partitions of an engine hold.
type memory struct {
	from Memory
	used atomic.Int64 // bytes of blocks in use, of all shards
	most int64
}

// RocketBytes is the memory that rocket topics take. Any goroutine may ask.
func (e *Engine) RocketBytes() int64 { return e.memory.used.Load() }

func (m *memory) full() bool { return m.used.Load() > m.most }

// chunk is one block with messages in it.
type chunk struct {
	base      uint64        // offset of the first message
	published atomic.Uint64 // count << 32 | bytes: what readers may read
	refs      atomic.Int32  // the list's and the readers'
	buf       []byte
	count     uint32 // the owner's, as used
	used      int
	newestMs  uint64 // when the last message came
}

// fits tells whether a message of size bytes finds room.
func (c *chunk) fits(size int) bool { return len(c.buf)-c.used >= size }

// section is what is in the chunk, as a section of the log would have it.
func (c *chunk) section(s record.Stream) record.Section {
	at := c.published.Load()
	return record.Section{Type: record.SectionRecords, Stream: s, Base: c.base, Count: uint32(at >> 32), Body: c.buf[:uint32(at)]}
}

// chunks is a partition's list of them, the oldest first.
type chunks struct {
	pool *memory
	mu   sync.Mutex // of list; held for no longer than a search
	list []*chunk
	last *chunk // the owner's: the end of list
}

// append puts a message behind the others; most is what the partition may hold, in bytes.
func (l *chunks) append(offset uint64, m *record.Record, nowMs, most uint64) {
	size := m.Size()
	c := l.last
	if c == nil || !c.fits(size) {
		c = l.open(offset, size, most)
	}
	used := len(m.AppendTo(c.buf[:c.used]))
	if used != c.used+size {
		panic("bug: a message of another size than it said")
	}
	c.used, c.newestMs = used, nowMs
	c.count++
	c.published.Store(uint64(c.count)<<32 | uint64(c.used))
}

// open begins a chunk that has room for a message of size bytes.
func (l *chunks) open(offset uint64, size int, most uint64) *chunk {
	n := chunkBytesMin
	if l.last != nil {
		n = 2 * len(l.last.buf)
	}
	n = max(min(n, chunkBytesMax, int(min(most, 1<<40)/8)), size)
	c := &chunk{base: offset, buf: l.pool.from.Get(n)}
	c.refs.Store(1)
	l.pool.used.Add(int64(n))
	l.mu.Lock()
	l.list = append(l.list, c)
	l.mu.Unlock()
	l.last = c
	return c
}

// more tells whether there is a chunk besides the one that is being filled.
func (l *chunks) more() bool { return len(l.list) > 1 }

// dropOldest forgets the oldest chunk and returns its size and the first offset that is left: end if none is.
func (l *chunks) dropOldest(end uint64) (bytes, floor uint64) {
	c := l.list[0]
	l.mu.Lock()
	l.list[0] = nil
	l.list = l.list[1:] // append moves what is left to a new array now and then
	if floor = end; len(l.list) > 0 {
		floor = l.list[0].base
	} else {
		l.last = nil
	}
	l.mu.Unlock()
	bytes = uint64(c.used)
	l.unpin(c)
	return bytes, floor
}

// drop forgets all.
func (l *chunks) drop() {
	l.mu.Lock()
	list := l.list
	l.list, l.last = nil, nil
	l.mu.Unlock()
	for _, c := range list {
		l.unpin(c)
	}
}

// pin returns the chunk that holds, or will hold, offset, and keeps it; nil if it is gone.
func (l *chunks) pin(offset uint64) *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.list), func(i int) bool { return l.list[i].base > offset })
	if i == 0 {
		return nil
	}
	c := l.list[i-1]
	c.refs.Add(1) // the list has a reference as long as the lock is held
	return c
}

// unpin gives a reference back; the last one gives the memory back.
func (l *chunks) unpin(c *chunk) {
	switch n := c.refs.Add(-1); {
	case n == 0:
		l.pool.used.Add(-int64(len(c.buf)))
		l.pool.from.Put(c.buf)
		c.buf = nil
	case n < 0:
		panic("bug: chunk released more often than taken")
	}
}
