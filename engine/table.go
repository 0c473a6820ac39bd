package engine

// table finds a key's place in a window's queue: open addressing with linear probing.
//
//	slot, 64 bits:  tag 31 (of the hash) | 1 | low 32 bits of the sequence number        0: empty
//
// The tag is both the home of a slot (its low bits) and what is compared before the entry itself is
// fetched, so a lookup touches one line of the table and one entry, and moving slots to a table of another
// size needs no entries at all. Removing shifts the slots behind back, so no tombstones pile up.
//
// Resizing is spread: the old table stays readable, every operation moves a few of its slots over, and each slot
// is in one of the two only. The old one is not added to any more, so there a tombstone does no harm.
//
//	Invariant: every slot names an entry between the queue's head and tail
type table struct {
	slots []uint64 // a power of two, at most three quarters full
	used  int      // slots in use, the old table's not counted
	old   []uint64 // being emptied, nil mostly
	moved int      // slots of old that were moved already
}

const tombstone = 1 // in old: was here. Never a slot, whose bit 32 is set.

func slotOf(h keyHash, seq uint64) uint64 { return h[0]>>33<<33 | 1<<32 | seq&(1<<32-1) }

func sameTag(a, b uint64) bool { return a>>32 == b>>32 }

func home(slots []uint64, slot uint64) int { return int(slot>>33) & (len(slots) - 1) }

// seqOf completes the sequence number of a slot.
func seqOf(slot uint64, q *queue) uint64 { return q.head + uint64(uint32(slot)-uint32(q.head)) }

// find returns the sequence number of the key's newest entry.
func (t *table) find(h keyHash, q *queue) (uint64, bool) {
	if i := search(t.slots, h, q); i >= 0 {
		return seqOf(t.slots[i], q), true
	}
	if i := search(t.old, h, q); i >= 0 {
		return seqOf(t.old[i], q), true
	}
	return 0, false
}

// search returns where the hash's slot is, -1 if it has none.
func search(slots []uint64, h keyHash, q *queue) int {
	if len(slots) == 0 {
		return -1
	}
	want := slotOf(h, 0)
	for i := home(slots, want); slots[i] != 0; i = (i + 1) & (len(slots) - 1) {
		if sameTag(slots[i], want) && q.at(seqOf(slots[i], q)).hash == h {
			return i
		}
	}
	return -1
}

// put makes the hash's slot name seq.
func (t *table) put(h keyHash, seq uint64, q *queue) {
	t.migrate(migrateSlots)
	if i := search(t.slots, h, q); i >= 0 {
		t.slots[i] = slotOf(h, seq)
		return
	}
	if i := search(t.old, h, q); i >= 0 {
		t.old[i] = tombstone
	}
	if (t.used+1)*4 > len(t.slots)*3 {
		t.resize(max(slotsMin, 2*len(t.slots)))
	}
	t.insert(slotOf(h, seq))
}

// remove forgets an entry, unless the hash's slot names a newer one.
func (t *table) remove(h keyHash, seq uint64) {
	t.migrate(migrateSlots)
	slot := slotOf(h, seq)
	if i := exact(t.slots, slot); i >= 0 {
		t.closeGap(i)
		t.used--
	} else if i := exact(t.old, slot); i >= 0 {
		t.old[i] = tombstone
	}
	if t.old == nil && len(t.slots) > slotsMin && t.used*8 < len(t.slots) {
		t.resize(len(t.slots) / 4)
	}
}

// exact returns where this very slot is, -1 if nowhere.
func exact(slots []uint64, slot uint64) int {
	if len(slots) == 0 {
		return -1
	}
	for i := home(slots, slot); slots[i] != 0; i = (i + 1) & (len(slots) - 1) {
		if slots[i] == slot {
			return i
		}
	}
	return -1
}

func (t *table) insert(slot uint64) {
	i := home(t.slots, slot)
	for t.slots[i] != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = slot
	t.used++
}

// closeGap empties slot i and moves back those behind it that would no longer be found
// (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
func (t *table) closeGap(i int) {
	mask := len(t.slots) - 1
	for j := (i + 1) & mask; t.slots[j] != 0; j = (j + 1) & mask {
		if (j-home(t.slots, t.slots[j]))&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
}

// resize starts moving to a table of n slots. The steps of migrate are long enough that the move before
// is over by then; if it is not, it ends here.
func (t *table) resize(n int) {
	n = max(n, slotsMin)
	t.migrate(len(t.old))
	t.old, t.moved = t.slots, 0
	t.slots, t.used = make([]uint64, n), 0
	if len(t.old) == 0 {
		t.old = nil
	}
}

// reserve makes an empty table large enough for n keys.
func (t *table) reserve(n int) {
	size := slotsMin
	for n*4 > size*3 {
		size *= 2
	}
	t.slots = make([]uint64, size)
}

// migrate moves the next n slots of the old table.
func (t *table) migrate(n int) {
	if t.old == nil {
		return
	}
	for ; n > 0 && t.moved < len(t.old); n-- {
		if slot := t.old[t.moved]; slot > tombstone {
			t.old[t.moved] = tombstone
			t.insert(slot)
		}
		t.moved++
	}
	if t.moved == len(t.old) {
		t.old = nil
	}
}
