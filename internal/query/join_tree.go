package query

// The messages of one key and side, in order of time, partition and offset: the order in which pairs are made. They come about in that order,
// but nothing makes them, and a key may have the whole window's messages; so it is a balanced tree, a treap. A node's rank is a hash
// of its slot, so none is stored; the seed keeps clients from choosing times that make a list of the tree.
//
// Rejected: a list that is searched from its end, and sorted slices. Both are quick as long as messages come in order, and walk past, or move,
// the whole window for each message where they do not.

const (
	before = 0
	behind = 1
)

// rank decides who is above whom.
func (b *joinBuffer) rank(slot int32) uint32 {
	x := uint32(slot) ^ b.treeSeed
	x = (x ^ x>>16) * 0x85ebca6b
	x = (x ^ x>>13) * 0xc2b2ae35
	return x ^ x>>16
}

// link puts a message into its group's tree.
func (b *joinBuffer) link(slot int32) {
	e := &b.entries[slot]
	place := &b.groups[e.group].root[e.side]
	e.parent, e.child = none, [2]int32{none, none}
	for *place != none {
		e.parent = *place
		above := &b.entries[e.parent]
		if e.order(above) < 0 {
			place = &above.child[before]
		} else {
			place = &above.child[behind]
		}
	}
	*place = slot
	for e.parent != none && b.rank(slot) > b.rank(e.parent) {
		b.raise(slot)
	}
}

// unlink takes a message out of its group's tree, and the group away with its last message.
func (b *joinBuffer) unlink(slot int32) {
	e := &b.entries[slot]
	for e.child[before] != none && e.child[behind] != none {
		if b.rank(e.child[before]) > b.rank(e.child[behind]) {
			b.raise(e.child[before])
		} else {
			b.raise(e.child[behind])
		}
	}
	below := e.child[before]
	if below == none {
		below = e.child[behind]
	}
	if below != none {
		b.entries[below].parent = e.parent
	}
	*b.placeOf(slot) = below
	if b.groups[e.group].root == [2]int32{none, none} {
		b.dropGroup(e.group)
	}
}

// placeOf is what refers to a message: its parent, or its group.
func (b *joinBuffer) placeOf(slot int32) *int32 {
	e := &b.entries[slot]
	if e.parent == none {
		return &b.groups[e.group].root[e.side]
	}
	if above := &b.entries[e.parent]; above.child[before] == slot {
		return &above.child[before]
	}
	return &b.entries[e.parent].child[behind]
}

// raise swaps a message with its parent, and keeps the order.
func (b *joinBuffer) raise(slot int32) {
	e := &b.entries[slot]
	parent := e.parent
	p := &b.entries[parent]
	place := b.placeOf(parent)
	side := before
	if p.child[behind] == slot {
		side = behind
	}
	inner := e.child[1-side]
	p.child[side] = inner
	if inner != none {
		b.entries[inner].parent = parent
	}
	e.child[1-side], e.parent, p.parent = parent, p.parent, slot
	*place = slot
}

// from returns the first message of a side whose time is not before timeMs, none if there is none.
func (b *joinBuffer) from(group int32, side uint8, timeMs int64) int32 {
	found := none
	for slot := b.groups[group].root[side]; slot != none; {
		e := &b.entries[slot]
		if e.timeMs >= timeMs {
			found, slot = slot, e.child[before]
		} else {
			slot = e.child[behind]
		}
	}
	return found
}

// until returns the last message of a side whose time is before timeMs, none if there is none.
func (b *joinBuffer) until(group int32, side uint8, timeMs int64) int32 {
	found := none
	for slot := b.groups[group].root[side]; slot != none; {
		e := &b.entries[slot]
		if e.timeMs < timeMs {
			found, slot = slot, e.child[behind]
		} else {
			slot = e.child[before]
		}
	}
	return found
}

// after returns the message behind slot in its tree.
func (b *joinBuffer) after(slot int32) int32 {
	if next := b.entries[slot].child[behind]; next != none {
		for b.entries[next].child[before] != none {
			next = b.entries[next].child[before]
		}
		return next
	}
	parent := b.entries[slot].parent
	for parent != none && b.entries[parent].child[behind] == slot {
		slot, parent = parent, b.entries[parent].parent
	}
	return parent
}
