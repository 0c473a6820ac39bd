package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// treeModel is a tree and what it must hold.
type treeModel struct {
	t    *testing.T
	tree kvTree
	want map[string]kvItem
}

// same holds the tree against want: order, items, minimum of every node, and looking every key up.
func sameTree(t *testing.T, tree *kvTree, want map[string]kvItem) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	i := 0
	tree.ascend(nil, func(key []byte, it *kvItem) bool {
		if i >= len(keys) || string(key) != keys[i] {
			t.Fatalf("key %d of %d is %q", i, len(keys), key)
		}
		got, w := *it, want[keys[i]]
		got.end = 0
		if got != w {
			t.Fatalf("%q has %+v, want %+v", key, got, w)
		}
		if found := tree.get(key); found == nil || found.offset != w.offset {
			t.Fatalf("%q is not found: %+v", key, found)
		}
		i++
		return true
	})
	if i != len(keys) {
		t.Fatalf("%d keys of %d", i, len(keys))
	}
	checkMins(t, tree.root)
}

func checkMins(t *testing.T, n *kvNode) kvMins {
	t.Helper()
	m := kvMins{kvNone, kvNone}
	if n == nil {
		return m
	}
	for i := range n.items {
		m = m.with(n.items[i].mins())
	}
	for i, k := range n.kids {
		have := checkMins(t, k.node)
		if have != k.mins {
			t.Fatalf("child %d has %+v, its parent says %+v", i, have, k.mins)
		}
		m = m.with(have)
	}
	if m != n.mins {
		t.Fatalf("node says %+v, has %+v", n.mins, m)
	}
	return m
}

func randomTreeKey(rng *rand.Rand) string {
	switch rng.IntN(5) {
	case 0:
		return fmt.Sprintf("ns\x00user:%d", rng.IntN(3000))
	case 1:
		return fmt.Sprintf("other\x00%04d", rng.IntN(500))
	case 2:
		return string([]byte{byte(rng.IntN(3)), byte(rng.IntN(256)), byte(rng.IntN(4))}[:1+rng.IntN(3)])
	case 3:
		return "long\x00" + string(bytes.Repeat([]byte{'a' + byte(rng.IntN(3))}, 1+rng.IntN(1000))) + fmt.Sprint(rng.IntN(50))
	}
	return fmt.Sprintf("ns\x00%x", rng.IntN(2000))
}

func randomItem(rng *rand.Rand, n uint64) kvItem {
	it := kvItem{offset: n, cas: 1 + rng.Uint64N(9), size: rng.Uint32N(1 << 20)}
	switch rng.IntN(3) {
	case 0:
		it.expiry = 1 + rng.Uint64N(10_000)
	case 1:
		it.dead = true
	}
	return it
}

func (m *treeModel) step(rng *rand.Rand, n uint64, removes int) {
	key := randomTreeKey(rng)
	if _, ok := m.want[key]; ok && rng.IntN(100) < removes {
		m.tree.remove([]byte(key))
		delete(m.want, key)
		return
	}
	it := randomItem(rng, n)
	m.tree.put([]byte(key), it)
	m.want[key] = it
}

func TestTreeIsASortedMap(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := &treeModel{t: t, want: map[string]kvItem{}}
		type shot struct {
			tree kvTree
			want map[string]kvItem
		}
		var shots []shot
		for n := range uint64(20_000) {
			removes := 20
			if n > 12_000 {
				removes = 95
			}
			m.step(rng, n, removes)
			if n%2500 == 0 {
				sameTree(t, &m.tree, m.want)
				m.scan(rng)
				shots = append(shots, shot{m.tree.snapshot(), maps.Clone(m.want)})
			}
		}
		for key := range maps.Clone(m.want) {
			m.tree.remove([]byte(key))
			delete(m.want, key)
			if len(m.want)%500 == 0 {
				sameTree(t, &m.tree, m.want)
			}
		}
		if m.tree.root != nil {
			t.Fatal("an empty tree has a root")
		}
		for _, s := range shots {
			sameTree(t, &s.tree, s.want)
			sameTree(t, rebuilt(&s.tree), s.want)
		}
	}
}

// scan compares what is found from the middle of the tree, and by the minimum.
func (m *treeModel) scan(rng *rand.Rand) {
	m.t.Helper()
	keys := slices.Sorted(maps.Keys(m.want))
	from := randomTreeKey(rng)
	at, _ := slices.BinarySearch(keys, from)
	var got []string
	m.tree.ascend([]byte(from), func(key []byte, _ *kvItem) bool { got = append(got, string(key)); return len(got) < 100 })
	if want := keys[at:min(len(keys), at+100)]; !slices.Equal(got, want) {
		m.t.Fatalf("from %q: %q, want %q", from, got, want)
	}
	now, due, dead := rng.Uint64N(10_000), map[string]bool{}, uint64(kvNone)
	for key, it := range m.want {
		if !it.dead && it.expiry != 0 && it.expiry <= now {
			due[key] = true
		}
		if it.dead {
			dead = min(dead, it.offset)
		}
	}
	m.tree.eachDue(now, func(key []byte, _ *kvItem) bool {
		if !due[string(key)] {
			m.t.Fatalf("%q is not due", key)
		}
		delete(due, string(key))
		return true
	})
	if len(due) > 0 {
		m.t.Fatalf("%d due keys were not shown", len(due))
	}
	if dead != kvNone {
		if key, it := m.tree.oldestDead(nil); it.offset != dead || m.want[string(key)].offset != dead {
			m.t.Fatalf("the oldest dead key is %q at %d, want %d", key, it.offset, dead)
		}
	}
}

// rebuilt is the tree as a checkpoint restores it.
func rebuilt(tree *kvTree) *kvTree {
	var b kvBuilder
	tree.ascend(nil, func(key []byte, it *kvItem) bool { b.add(key, it); return true })
	again := b.tree()
	return &again
}

func treeKeyOf(i uint64, buf []byte) []byte {
	x := i * 0x9e3779b97f4a7c15
	buf = append(buf[:0], "bench\x00user:"...)
	for range 8 {
		x = x<<8 | x>>56
		buf = append(buf, "0123456789abcdef"[x&15])
	}
	return binary.BigEndian.AppendUint32(buf, uint32(i))
}

// BenchmarkKVTree says what a key costs: ten million of 16 bytes and more, in random order.
func BenchmarkKVTree(b *testing.B) {
	const keys = 2_000_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var tree kvTree
	var buf []byte
	b.Run("insert", func(b *testing.B) {
		for b.Loop() {
			tree = kvTree{}
			before := heap()
			for i := range uint64(keys) {
				buf = treeKeyOf(i, buf)
				tree.put(buf, kvItem{offset: i, cas: 1, size: 64})
			}
			b.ReportMetric(float64(heap()-before)/keys, "B/key")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
	})
	rng := rand.New(rand.NewPCG(1, 1))
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			buf = treeKeyOf(rng.Uint64N(keys), buf)
			if tree.get(buf) == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("overwrite", func(b *testing.B) {
		for b.Loop() {
			buf = treeKeyOf(rng.Uint64N(keys), buf)
			tree.put(buf, kvItem{offset: 1, cas: 2, size: 64})
		}
	})
	b.Run("overwrite behind a snapshot", func(b *testing.B) {
		tree.snapshot()
		for b.Loop() {
			buf = treeKeyOf(rng.Uint64N(keys), buf)
			tree.put(buf, kvItem{offset: 1, cas: 2, size: 64})
		}
	})
	b.Run("rebuild", func(b *testing.B) {
		var again kvTree
		for b.Loop() {
			before := heap()
			again = *rebuilt(&tree)
			b.ReportMetric(float64(heap()-before)/keys, "B/key")
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
		runtime.KeepAlive(again)
	})
}
