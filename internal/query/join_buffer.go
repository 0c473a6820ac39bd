package query

// The messages of a join that wait for a partner.
//
//	key --hash--> group: left  messages, a tree by time
//	                     right messages, a tree by time    (join_tree.go)
//	due: a heap of all of them, the one that is settled first on top
//
// Everything lies in slices and refers to each other by index ("slot"), free slots are chained: no pointers for the collector to
// follow, and nothing is allocated for a message once the slices have the size of the window. A group has no memory of its own
// for its key; every message holds it, in front of what is rendered of it.
//
// Rejected: a map from key to slices (an allocation per key, and its memory never shrinks), one list by time that is searched for
// equal keys (a window of 100,000 messages is looked through for each).

import (
	"bytes"
	"cmp"
	"hash/maphash"
)

const none int32 = -1

// joinEntry is a message that waits.
type joinEntry struct {
	timeMs    int64
	offset    uint64
	partition uint32
	group     int32
	parent    int32     // in its group's tree; or the next of the free ones
	child     [2]int32  // what is before it in its part of the tree, and behind it
	data      arenaSpan // its key, then what a row shows of it
	keyBytes  uint32
	side      uint8
	matched   bool // is in a row already
}

// joinGroup is the messages of one key.
type joinGroup struct {
	hash uint64
	next int32 // with the same bucket, or of the free ones
	root [2]int32
}

// joinDue is a place in the heap: the message is settled when the horizon has passed dueMs.
type joinDue struct {
	dueMs int64
	slot  int32
}

type joinBuffer struct {
	arena       arena
	entries     []joinEntry
	freeEntries int32
	groups      []joinGroup
	freeGroups  int32
	buckets     []int32 // a power of two of them
	groupCount  int
	seed        maphash.Seed // decides where a key is and what shape trees have, nothing that is seen
	treeSeed    uint32
	due         []joinDue
	waiting     int // messages
	dataBytes   int // of theirs
}

func newJoinBuffer() joinBuffer {
	seed := maphash.MakeSeed()
	return joinBuffer{freeEntries: none, freeGroups: none, seed: seed, treeSeed: uint32(maphash.Bytes(seed, nil))}
}

// occupied is the memory that the buffer has, in bytes.
func (b *joinBuffer) occupied() int {
	return b.arena.bytes + cap(b.entries)*joinEntryBytes + cap(b.groups)*joinGroupBytes + cap(b.buckets)*4 + cap(b.due)*16
}

const joinEntryBytes, joinGroupBytes = 64, 24

// add keeps a message, whose key and rendered fields are copied.
func (b *joinBuffer) add(e joinEntry, key, shown []byte, dueMs int64) int32 {
	e.group = b.groupOf(key)
	e.data, e.keyBytes = b.arena.keep(key, shown), uint32(len(key))
	slot := b.newEntry(e)
	b.link(slot)
	b.dataBytes += int(e.data.n)
	b.waiting++
	b.push(joinDue{dueMs, slot})
	return slot
}

// leave takes a message out of its tree, and gives up its bytes. It stays in the heap until its turn comes.
func (b *joinBuffer) leave(slot int32) {
	e := &b.entries[slot]
	b.unlink(slot)
	b.dataBytes -= int(e.data.n)
	b.waiting--
	b.arena.release(e.data)
}

// free gives up a message that has left, and is in the heap no more.
func (b *joinBuffer) free(slot int32) {
	b.entries[slot].parent, b.freeEntries = b.freeEntries, slot
}

func (b *joinBuffer) key(slot int32) []byte {
	e := &b.entries[slot]
	return b.arena.get(e.data)[:e.keyBytes]
}

func (b *joinBuffer) shown(slot int32) []byte {
	e := &b.entries[slot]
	return b.arena.get(e.data)[e.keyBytes:]
}

func (b *joinBuffer) newEntry(e joinEntry) int32 {
	slot := b.freeEntries
	if slot == none {
		b.entries = append(b.entries, e)
		return int32(len(b.entries) - 1)
	}
	b.freeEntries = b.entries[slot].parent
	b.entries[slot] = e
	return slot
}

// order is that of messages of one side: by time, partition, offset.
func (e *joinEntry) order(f *joinEntry) int {
	if c := cmp.Compare(e.timeMs, f.timeMs); c != 0 {
		return c
	}
	return e.orderOffset(f)
}

func (e *joinEntry) orderOffset(f *joinEntry) int {
	if c := cmp.Compare(e.partition, f.partition); c != 0 {
		return c
	}
	return cmp.Compare(e.offset, f.offset)
}

func (b *joinBuffer) hash(key []byte) uint64 { return maphash.Bytes(b.seed, key) }

// find returns the group of a key, none where nobody of that key waits.
func (b *joinBuffer) find(hash uint64, key []byte) int32 {
	if len(b.buckets) == 0 {
		return none
	}
	g := b.buckets[hash&uint64(len(b.buckets)-1)]
	for g != none && (b.groups[g].hash != hash || !bytes.Equal(b.groupKey(g), key)) {
		g = b.groups[g].next
	}
	return g
}

func (b *joinBuffer) groupKey(g int32) []byte {
	slot := b.groups[g].root[leftSide]
	if slot == none {
		slot = b.groups[g].root[rightSide]
	}
	return b.key(slot)
}

// groupOf is find, and makes the group if need be; it must be given a message at once.
func (b *joinBuffer) groupOf(key []byte) int32 {
	hash := b.hash(key)
	if g := b.find(hash, key); g != none {
		return g
	}
	if b.groupCount == len(b.buckets) {
		b.growBuckets()
	}
	bucket := &b.buckets[hash&uint64(len(b.buckets)-1)]
	g := joinGroup{hash: hash, next: *bucket, root: [2]int32{none, none}}
	slot := b.freeGroups
	if slot == none {
		b.groups = append(b.groups, g)
		slot = int32(len(b.groups) - 1)
	} else {
		b.freeGroups = b.groups[slot].next
		b.groups[slot] = g
	}
	*bucket = slot
	b.groupCount++
	return slot
}

func (b *joinBuffer) dropGroup(g int32) {
	hash := b.groups[g].hash
	place := &b.buckets[hash&uint64(len(b.buckets)-1)]
	for *place != g {
		place = &b.groups[*place].next
	}
	*place = b.groups[g].next
	b.groups[g].next, b.freeGroups = b.freeGroups, g
	b.groupCount--
}

func (b *joinBuffer) growBuckets() {
	old := b.buckets
	b.buckets = make([]int32, max(64, 2*len(old)))
	for i := range b.buckets {
		b.buckets[i] = none
	}
	for _, g := range old {
		for g != none {
			next := b.groups[g].next
			bucket := &b.buckets[b.groups[g].hash&uint64(len(b.buckets)-1)]
			b.groups[g].next, *bucket = *bucket, g
			g = next
		}
	}
}

// earlier tells whether x is settled before y. It is a total order that does not know slots: what is put away and restored is settled
// in the same order.
func (b *joinBuffer) earlier(x, y joinDue) bool {
	if x.dueMs != y.dueMs {
		return x.dueMs < y.dueMs
	}
	e, f := &b.entries[x.slot], &b.entries[y.slot]
	if e.timeMs != f.timeMs {
		return e.timeMs < f.timeMs
	}
	if e.side != f.side {
		return e.side < f.side
	}
	return e.orderOffset(f) < 0
}

// push puts a message into the heap.
func (b *joinBuffer) push(d joinDue) {
	b.due = append(b.due, d)
	i := len(b.due) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !b.earlier(d, b.due[parent]) {
			break
		}
		b.due[i] = b.due[parent]
		i = parent
	}
	b.due[i] = d
}

// pop takes the first out of the heap, which is not empty.
func (b *joinBuffer) pop() joinDue {
	top, last := b.due[0], b.due[len(b.due)-1]
	b.due = b.due[:len(b.due)-1]
	for i := 0; len(b.due) > 0; {
		child := 2*i + 1
		if child+1 < len(b.due) && b.earlier(b.due[child+1], b.due[child]) {
			child++
		}
		if child >= len(b.due) || !b.earlier(b.due[child], last) {
			b.due[i] = last
			break
		}
		b.due[i] = b.due[child]
		i = child
	}
	return top
}
