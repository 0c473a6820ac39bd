package raftlog

import (
	"sync"

	"github.com/hashicorp/raft"
)

// entryCache keeps the newest entries as raft uses them, so that replication and the state machine read neither the
// disk nor a segment's image. Bounded by number and bytes; what falls out is read from the log.
type entryCache struct {
	mu    sync.RWMutex
	ring  []raft.Log // by index modulo length; Index 0 where empty
	first uint64     // oldest index kept; first > last: nothing
	last  uint64
	bytes int
	max   int
}

func newEntryCache(entries, bytes int) *entryCache {
	return &entryCache{ring: make([]raft.Log, entries), max: bytes, first: 1}
}

func (c *entryCache) at(index uint64) *raft.Log { return &c.ring[index%uint64(len(c.ring))] }

// put adds the entry behind the last one; a gap empties the cache first.
func (c *entryCache) put(l *raft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first <= c.last && l.Index != c.last+1 {
		c.drop(c.last + 1)
	}
	if c.first > c.last {
		c.first = l.Index
	}
	c.last = l.Index
	for c.last-c.first >= uint64(len(c.ring)) {
		c.drop(c.first + 1)
	}
	*c.at(l.Index) = *l
	c.bytes += len(l.Data)
	for c.bytes > c.max && c.first < c.last {
		c.drop(c.first + 1)
	}
}

// drop gives up the entries before index. Under mu.
func (c *entryCache) drop(index uint64) {
	for ; c.first < index; c.first++ {
		e := c.at(c.first)
		c.bytes -= len(e.Data)
		*e = raft.Log{}
	}
}

func (c *entryCache) get(index uint64, l *raft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if index < c.first || index > c.last {
		return false
	}
	*l = *c.at(index)
	return true
}

// truncate gives up the entries from index on.
func (c *entryCache) truncate(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.last >= index && c.last >= c.first; c.last-- {
		e := c.at(c.last)
		c.bytes -= len(e.Data)
		*e = raft.Log{}
	}
}
