package engine

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// kvTree is what a bucket of the key-value store knows of its keys, in their order: a B+ tree whose leaves hold what
// is known of a key beside what distinguishes it from its neighbours.
//
//	            ┌ separators, children ┐          kvNode.kids
//	     ┌──────┴───┐              ┌───┴──────┐
//	┌ items ┬ keys ┐        ┌ items ┬ keys ┐       items: 32 bytes each, without pointers
//	└───────┴──────┘        └───────┴──────┘       keys:  what all keys of the leaf begin with | the rest of each, on end
//
// One structure looks up, lists in order, and finds what is due. A hash table would look up in one step instead of
// four or five, and would need a second copy of every key, or a sort of ten million, to list by prefix. Measured with ten
// million keys of 16 bytes: BenchmarkKVTree in kvtree_test.go.
//
// Every child is listed with the minimum over its items of two numbers: when the next key expires, and where in
// the stream the oldest deleted key was deleted. So the next key of either kind is found on the way down, without a heap or a list
// beside the tree that would have to name keys again. A change updates the minimum of the nodes on its way only.
//
// Snapshots cost nothing: snapshot hands out the root and begins an epoch, and a node that is older than the tree's
// epoch is copied before it is changed. Nodes of a snapshot never change, so any goroutine may walk them.
type kvTree struct {
	root  *kvNode // nil: empty
	epoch uint64  // nodes with another one belong to a snapshot, too

	writers [2]kvLeafWriter // scratch
}

// kvItem is what is known of one key. It contains no pointer.
type kvItem struct {
	offset uint64 // of the record that changed the key last
	cas    uint64 // that the record gave it
	expiry uint64 // Unix milliseconds, 0: never
	size   uint32 // of the value, in bytes
	end    uint16 // in the leaf: where the key's rest ends, counted from the end of what all have in common
	dead   bool   // deleted or expired: what remains is its cas
}

// kvMins are the least numbers of a subtree; kvNone where it has none.
type kvMins struct {
	due  uint64 // expiry of keys that live
	dead uint64 // offset of the deletion of dead keys
}

const kvNone = math.MaxUint64

func (it *kvItem) mins() kvMins {
	switch {
	case it.dead:
		return kvMins{kvNone, it.offset}
	case it.expiry != 0:
		return kvMins{it.expiry, kvNone}
	}
	return kvMins{kvNone, kvNone}
}

func (m kvMins) with(o kvMins) kvMins { return kvMins{min(m.due, o.due), min(m.dead, o.dead)} }

// kvNode is a leaf, or, with kids, an inner node.
type kvNode struct {
	items  []kvItem
	keys   []byte // common bytes, then the rest of each key
	kids   []kvKid
	common uint16 // how many bytes all keys of a leaf, or all separators of an inner node, begin with
	epoch  uint64
	mins   kvMins
}

// kvKid is a child and what its parent knows of it. Keys in it are not below sep, which the first child's has no use for.
type kvKid struct {
	sep  string
	head uint64 // of sep, behind what all separators of the parent begin with
	node *kvNode
	mins kvMins
}

// get returns the key's item, nil if it has none. It is valid until the tree changes.
func (t *kvTree) get(key []byte) *kvItem {
	n := t.root
	for n != nil && n.kids != nil {
		n = n.kids[n.kidOf(key)].node
	}
	if n == nil {
		return nil
	}
	if i, ok := n.find(key); ok {
		return &n.items[i]
	}
	return nil
}

// mins are those of the whole tree.
func (t *kvTree) mins() kvMins {
	if t.root == nil {
		return kvMins{kvNone, kvNone}
	}
	return t.root.mins
}

// snapshot is the tree as it is now, for any goroutine.
func (t *kvTree) snapshot() kvTree {
	t.epoch++
	return kvTree{root: t.root}
}

// put makes it the key's item, and returns the one before.
func (t *kvTree) put(key []byte, it kvItem) (before kvItem, had bool) {
	if t.root == nil {
		t.root = &kvNode{epoch: t.epoch, mins: kvMins{kvNone, kvNone}}
	}
	t.root = t.own(t.root)
	right, sep := t.insert(t.root, key, &it, &before)
	if right != nil {
		left := t.root
		t.root = &kvNode{epoch: t.epoch, kids: make([]kvKid, 0, kvKidsStep)}
		t.root.kids = append(t.root.kids, kvKid{node: left, mins: left.mins}, kvKid{sep: sep, node: right, mins: right.mins})
		t.root.separate()
		t.root.refresh()
	}
	return before, before.cas != 0
}

// own returns n, or a copy that may be changed where n belongs to a snapshot.
func (t *kvTree) own(n *kvNode) *kvNode {
	if n.epoch == t.epoch {
		return n
	}
	c := *n
	c.epoch = t.epoch
	c.items, c.keys, c.kids = slices.Clone(n.items), slices.Clone(n.keys), slices.Clone(n.kids)
	return &c
}

// insert puts the item below n, which the tree owns. It returns what n was split into besides itself, nil mostly.
func (t *kvTree) insert(n *kvNode, key []byte, it, before *kvItem) (right *kvNode, sep string) {
	if n.kids == nil {
		t.fill(n, key, it, before)
		if len(n.items) <= kvLeafItems && len(n.keys) <= kvLeafBytes {
			return nil, ""
		}
		return t.splitLeaf(n)
	}
	i := n.kidOf(key)
	kid := t.own(n.kids[i].node)
	n.kids[i].node = kid
	more, sep := t.insert(kid, key, it, before)
	n.noteMins(i)
	if more == nil {
		return nil, ""
	}
	if len(n.kids) == cap(n.kids) {
		n.kids = append(make([]kvKid, 0, len(n.kids)+kvKidsStep), n.kids...)
	}
	n.kids = slices.Insert(n.kids, i+1, kvKid{sep: sep, node: more, mins: more.mins})
	n.separated(i + 1)
	n.mins = n.mins.with(more.mins)
	if len(n.kids) <= kvKids {
		return nil, ""
	}
	return n.splitInner()
}

// noteMins brings up to date what n knows of child i, which has changed.
func (n *kvNode) noteMins(i int) {
	before, now := n.kids[i].mins, n.kids[i].node.mins
	if before == now {
		return
	}
	n.kids[i].mins = now
	if (before.due == n.mins.due && now.due > before.due) || (before.dead == n.mins.dead && now.dead > before.dead) {
		n.refresh()
		return
	}
	n.mins = n.mins.with(now)
}

// refresh computes n's minimum anew.
func (n *kvNode) refresh() {
	n.mins = kvMins{kvNone, kvNone}
	for i := range n.items {
		n.mins = n.mins.with(n.items[i].mins())
	}
	for i := range n.kids {
		n.mins = n.mins.with(n.kids[i].mins)
	}
}

// kidOf returns which child the key belongs to: the last one whose separator is not above it. Heads decide but
// where they are equal, so that a search stays within the node.
func (n *kvNode) kidOf(key []byte) int {
	if len(n.kids) < 2 {
		return 0
	}
	c, first := int(n.common), n.kids[1].sep
	if len(key) < c || string(key[:c]) != first[:c] {
		if string(key) < first {
			return 0
		}
		return len(n.kids) - 1
	}
	head := headOf(key[c:])
	lo, hi := 1, len(n.kids) // separators below lo are not above the key, those from hi on are
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		k := &n.kids[mid]
		if k.head < head || k.head == head && k.sep <= string(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// headOf is the first eight bytes as a number that is ordered as they are, up to zeros at the end.
func headOf[T string | []byte](b T) (h uint64) {
	for i := range min(len(b), 8) {
		h |= uint64(b[i]) << (56 - 8*i)
	}
	return h
}

// separate computes anew what all separators begin with, and their heads.
func (n *kvNode) separate() {
	if len(n.kids) < 2 {
		return
	}
	c := commonPrefix(n.kids[1].sep, n.kids[len(n.kids)-1].sep)
	n.common = uint16(c)
	for i := 1; i < len(n.kids); i++ {
		n.kids[i].head = headOf(n.kids[i].sep[c:])
	}
}

// separated is the same after child i has come.
func (n *kvNode) separated(i int) {
	if len(n.kids) < 3 {
		n.separate()
		return
	}
	c, sep := int(n.common), n.kids[i].sep
	if other := n.kids[3-min(i, 2)].sep; len(sep) < c || sep[:c] != other[:c] {
		n.separate()
		return
	}
	n.kids[i].head = headOf(sep[c:])
}

func (n *kvNode) splitInner() (right *kvNode, sep string) {
	at := len(n.kids) / 2
	right = &kvNode{epoch: n.epoch, kids: slices.Clone(n.kids[at:])}
	sep, right.kids[0].sep = right.kids[0].sep, ""
	n.kids = slices.Clone(n.kids[:at])
	for _, part := range []*kvNode{n, right} {
		part.separate()
		part.refresh()
	}
	return right, sep
}

// remove takes the key out; a key that is not there is a bug.
func (t *kvTree) remove(key []byte) {
	t.root = t.own(t.root)
	t.cut(t.root, key)
	for t.root != nil && len(t.root.kids) == 1 {
		t.root = t.root.kids[0].node
	}
	if t.root.empty() {
		t.root = nil
	}
}

func (n *kvNode) empty() bool { return len(n.items) == 0 && len(n.kids) == 0 }

// cut removes the key below n, which the tree owns.
func (t *kvTree) cut(n *kvNode, key []byte) {
	if n.kids == nil {
		n.remove(key)
		return
	}
	i := n.kidOf(key)
	kid := t.own(n.kids[i].node)
	n.kids[i].node = kid
	t.cut(kid, key)
	n.noteMins(i)
	switch {
	case kid.empty():
		n.kids = slices.Delete(n.kids, i, i+1)
		if i == 0 && len(n.kids) > 0 {
			n.kids[0].sep = ""
		}
	case i+1 < len(n.kids):
		t.join(n, i)
	case i > 0:
		t.join(n, i-1)
	}
}

// join makes one leaf of child i and the one behind it where both together are small, so that a tree that many keys
// have left does not consist of nearly empty leaves.
func (t *kvTree) join(n *kvNode, i int) {
	a, b := n.kids[i].node, n.kids[i+1].node
	if a.kids != nil || b.kids != nil || len(a.items)+len(b.items) > kvLeafItems/2 || len(a.keys)+len(b.keys) > kvLeafBytes/2 {
		return
	}
	w := &t.writers[0]
	a.each(&w.key, func(key []byte, it *kvItem) bool { w.add(key, it); return true })
	b.each(&w.key, func(key []byte, it *kvItem) bool { w.add(key, it); return true })
	leaf := w.leaf(t.epoch, kvFullKeyMax)
	n.kids[i].node, n.kids[i].mins = leaf, leaf.mins
	n.kids = slices.Delete(n.kids, i+1, i+2)
}

// ascend shows the keys from the first one not below from on, in order, until fn returns false. The key and the item
// are valid during the call; fn must not change the tree.
func (t *kvTree) ascend(from []byte, fn func(key []byte, it *kvItem) bool) {
	if t.root != nil {
		var key []byte
		t.root.ascend(from, &key, fn)
	}
}

func (n *kvNode) ascend(from []byte, key *[]byte, fn func([]byte, *kvItem) bool) bool {
	if n.kids == nil {
		i := 0
		if len(from) > 0 {
			i, _ = n.find(from)
		}
		return n.eachFrom(i, key, fn)
	}
	for i := n.kidOf(from); i < len(n.kids); i++ {
		if !n.kids[i].node.ascend(from, key, fn) {
			return false
		}
		from = nil
	}
	return true
}

// eachDue shows the keys that live and expire at now or before, in the keys' order, until fn returns false.
func (t *kvTree) eachDue(now uint64, fn func(key []byte, it *kvItem) bool) {
	if t.root != nil {
		var key []byte
		t.root.eachDue(now, &key, fn)
	}
}

func (n *kvNode) eachDue(now uint64, key *[]byte, fn func([]byte, *kvItem) bool) bool {
	if n.mins.due > now {
		return true
	}
	for i := range n.kids {
		if n.kids[i].mins.due <= now && !n.kids[i].node.eachDue(now, key, fn) {
			return false
		}
	}
	return n.each(key, func(key []byte, it *kvItem) bool {
		return it.dead || it.expiry == 0 || it.expiry > now || fn(key, it)
	})
}

// oldestDead returns the dead key that was deleted first. The item is valid until the tree changes.
func (t *kvTree) oldestDead(key []byte) ([]byte, *kvItem) {
	n := t.root
	for n.kids != nil {
		n = n.kids[slices.IndexFunc(n.kids, func(k kvKid) bool { return k.mins.dead == n.mins.dead })].node
	}
	i := slices.IndexFunc(n.items, func(it kvItem) bool { return it.dead && it.offset == n.mins.dead })
	return n.appendKey(key[:0], i), &n.items[i]
}

// commonPrefix is how many bytes both begin with.
func commonPrefix[A, B string | []byte](a A, b B) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// separator returns the shortest key that is above all of left, and not above right.
func separator(left, right []byte) string {
	return strings.Clone(string(right[:commonPrefix(left, right)+1]))
}

// Leaves.

// rest returns the bytes that key i does not share with all others.
func (n *kvNode) rest(i int) []byte {
	from := uint16(0)
	if i > 0 {
		from = n.items[i-1].end
	}
	return n.keys[n.common:][from:n.items[i].end]
}

func (n *kvNode) appendKey(dst []byte, i int) []byte {
	dst = append(dst, n.keys[:n.common]...)
	return append(dst, n.rest(i)...)
}

// find returns where the key is in a leaf, or would be.
func (n *kvNode) find(key []byte) (i int, ok bool) {
	if len(n.items) == 0 {
		return 0, false
	}
	shared := n.keys[:n.common]
	if len(key) < len(shared) || !bytes.Equal(key[:len(shared)], shared) {
		if bytes.Compare(key, shared) < 0 {
			return 0, false
		}
		return len(n.items), false
	}
	rest := key[len(shared):]
	lo, hi := 0, len(n.items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := bytes.Compare(n.rest(mid), rest); {
		case c == 0:
			return mid, true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false
}

// each shows a leaf's keys and items in order; false when fn stopped.
func (n *kvNode) each(key *[]byte, fn func([]byte, *kvItem) bool) bool { return n.eachFrom(0, key, fn) }

func (n *kvNode) eachFrom(i int, key *[]byte, fn func([]byte, *kvItem) bool) bool {
	for ; i < len(n.items); i++ {
		*key = n.appendKey((*key)[:0], i)
		if !fn(*key, &n.items[i]) {
			return false
		}
	}
	return true
}

// fill adds or replaces an item of a leaf; what was replaced goes to old.
func (t *kvTree) fill(n *kvNode, key []byte, it, old *kvItem) {
	i, ok := n.find(key)
	if !ok {
		if len(n.items) == 0 {
			n.common = 0
		} else if c := commonPrefix(key, n.keys[:n.common]); c < int(n.common) {
			t.share(n, c)
		}
		n.makeRoom(i, key[n.common:])
		n.items[i] = *it
		n.items[i].end = n.startOf(i) + uint16(len(key)-int(n.common))
		n.mins = n.mins.with(it.mins())
		return
	}
	*old = n.items[i]
	before, end := old.mins(), old.end
	n.items[i] = *it
	n.items[i].end = end
	if now := it.mins(); now.due > before.due || now.dead > before.dead {
		n.refresh()
	} else {
		n.mins = n.mins.with(now)
	}
}

// startOf is where the rest of key i begins.
func (n *kvNode) startOf(i int) uint16 {
	if i == 0 {
		return 0
	}
	return n.items[i-1].end
}

// makeRoom opens a gap for item i, whose key's rest is put into its place.
func (n *kvNode) makeRoom(i int, rest []byte) {
	if len(n.items) == cap(n.items) {
		n.items = append(make([]kvItem, 0, min(len(n.items)+kvItemsStep, kvLeafItems+1)), n.items...)
	}
	if len(n.keys)+len(rest) > cap(n.keys) {
		n.keys = append(make([]byte, 0, len(n.keys)+len(rest)+max(kvKeysStep, len(n.keys)/8)), n.keys...)
	}
	at := int(n.common) + int(n.startOf(i))
	n.keys = slices.Insert(n.keys, at, rest...)
	n.items = slices.Insert(n.items, i, kvItem{})
	for j := i + 1; j < len(n.items); j++ {
		n.items[j].end += uint16(len(rest))
	}
}

// share makes the leaf's keys have only c bytes in common.
func (t *kvTree) share(n *kvNode, c int) {
	w := &t.writers[0]
	n.each(&w.key, func(key []byte, it *kvItem) bool { w.add(key, it); return true })
	fresh := w.leaf(n.epoch, c)
	n.items, n.keys, n.common = fresh.items, fresh.keys, fresh.common
}

// remove takes an item out of a leaf.
func (n *kvNode) remove(key []byte) {
	i, ok := n.find(key)
	if !ok {
		panic("bug: a key to be removed is not in the tree")
	}
	at, size := int(n.common)+int(n.startOf(i)), n.items[i].end-n.startOf(i)
	n.keys = slices.Delete(n.keys, at, at+int(size))
	n.items = slices.Delete(n.items, i, i+1)
	for j := i; j < len(n.items); j++ {
		n.items[j].end -= size
	}
	n.refresh()
}

// splitLeaf moves the upper half of a leaf to a new one.
func (t *kvTree) splitLeaf(n *kvNode) (right *kvNode, sep string) {
	at := len(n.items) / 2
	low, high := &t.writers[0], &t.writers[1]
	i := 0
	n.each(&low.key, func(key []byte, it *kvItem) bool {
		switch {
		case i < at:
			low.add(key, it)
		default:
			if i == at {
				sep = separator(low.at(at-1), key)
			}
			high.add(key, it)
		}
		i++
		return true
	})
	left := low.leaf(n.epoch, kvFullKeyMax)
	n.items, n.keys, n.common, n.mins = left.items, left.keys, left.common, left.mins
	return high.leaf(n.epoch, kvFullKeyMax), sep
}

// kvLeafWriter makes a leaf of keys that come in order.
type kvLeafWriter struct {
	items []kvItem
	full  []byte // the keys on end
	ends  []int  // in full
	key   []byte // scratch of whoever reads the keys
}

func (w *kvLeafWriter) add(key []byte, it *kvItem) {
	w.items = append(w.items, *it)
	w.full = append(w.full, key...)
	w.ends = append(w.ends, len(w.full))
}

func (w *kvLeafWriter) at(i int) []byte {
	from := 0
	if i > 0 {
		from = w.ends[i-1]
	}
	return w.full[from:w.ends[i]]
}

// leaf makes the leaf, of exactly the memory that it needs, with at most so many bytes in common, and empties the writer.
func (w *kvLeafWriter) leaf(epoch uint64, most int) *kvNode {
	n := &kvNode{items: make([]kvItem, len(w.items)), epoch: epoch}
	copy(n.items, w.items)
	first := w.at(0)
	c := min(most, commonPrefix(first, w.at(len(w.items)-1)))
	n.common = uint16(c)
	n.keys = make([]byte, 0, c+len(w.full)-c*len(w.items))
	n.keys = append(n.keys, first[:c]...)
	for i := range n.items {
		n.keys = append(n.keys, w.at(i)[c:]...)
		n.items[i].end = uint16(len(n.keys) - c)
	}
	n.refresh()
	w.items, w.full, w.ends = w.items[:0], w.full[:0], w.ends[:0]
	return n
}
