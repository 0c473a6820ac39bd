package engine

// kvBuilder makes a tree of keys that come in order: leaves nearly full one after the other, then the levels
// above them. It takes a quarter of the time that putting the keys one by one does.
type kvBuilder struct {
	leaf   kvLeafWriter
	level  []kvKid // the leaves so far
	last   []byte  // the last key of the leaf before
	opened []byte  // the first key of the one that is being filled
}

// add appends a key above all that came before.
func (b *kvBuilder) add(key []byte, it *kvItem) {
	if n := len(b.leaf.items); n >= kvLeafFill || n > 0 && len(b.leaf.full)+len(key) > kvLeafBytes {
		b.close()
	}
	if len(b.leaf.items) == 0 {
		b.opened = append(b.opened[:0], key...)
	}
	b.leaf.add(key, it)
}

// close ends a leaf.
func (b *kvBuilder) close() {
	if len(b.leaf.items) == 0 {
		return
	}
	sep := ""
	if len(b.level) > 0 {
		sep = separator(b.last, b.opened)
	}
	b.last = append(b.last[:0], b.leaf.at(len(b.leaf.items)-1)...)
	n := b.leaf.leaf(0, kvFullKeyMax)
	b.level = append(b.level, kvKid{sep: sep, node: n, mins: n.mins})
}

// tree ends the building.
func (b *kvBuilder) tree() kvTree {
	b.close()
	if len(b.level) == 0 {
		return kvTree{}
	}
	for len(b.level) > 1 {
		b.raise()
	}
	return kvTree{root: b.level[0].node}
}

// raise makes the parents of the level's nodes. Each gets its share of them, so that none has one child alone.
func (b *kvBuilder) raise() {
	parents := (len(b.level) + kvKidsFill - 1) / kvKidsFill
	var above []kvKid
	for i := range parents {
		from, to := i*len(b.level)/parents, (i+1)*len(b.level)/parents
		n := &kvNode{kids: append(make([]kvKid, 0, to-from), b.level[from:to]...)}
		sep := n.kids[0].sep
		n.kids[0].sep = ""
		n.separate()
		n.refresh()
		above = append(above, kvKid{sep: sep, node: n, mins: n.mins})
	}
	b.level = above
}
