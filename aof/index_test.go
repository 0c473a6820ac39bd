package aof

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"ayder/internal/record"
)

func TestEntryListFindsLikeASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 8, 9, 31, 32, 33, 500, 3000} {
		var l entryList
		var all []entry
		base := uint64(rng.IntN(10))
		for i := range n {
			e := entry{base, uint32(i), uint32(i % 7)}
			l.add(e)
			all = append(all, e)
			base += 1 + uint64(rng.IntN(5))
		}
		dst := make([]entry, 0, entriesPerLock)
		for offset := uint64(0); offset <= base+1; offset++ {
			i, _ := slices.BinarySearchFunc(all, offset+1, func(e entry, o uint64) int { return cmp.Compare(e.base, o) })
			want := all[max(i-1, 0):]
			want = want[:min(len(want), cap(dst))]
			if got := l.from(offset, dst); !slices.Equal(got, want) {
				t.Fatalf("%d entries, offset %d: got %v, want %v", n, offset, got, want)
			}
		}
	}
}

func TestEntryListNeverMovesWhatItHas(t *testing.T) {
	var l entryList
	l.add(entry{base: 1})
	first := &l.chunks[0][0]
	for i := range 10000 {
		l.add(entry{base: uint64(i + 2)})
	}
	if first != &l.chunks[0][0] || l.n != 10001 {
		t.Error("the first entry moved")
	}
	for i, c := range l.chunks {
		if cap(c) > entryChunkMax {
			t.Errorf("chunk %d holds %d entries", i, cap(c))
		}
	}
}

func TestOffsetsOfAStreamMustGrow(t *testing.T) {
	var st stream
	seg := &segment{}
	sec := record.Section{Type: record.SectionRecords, Base: 10, Count: 5}
	for base, want := range map[uint64]bool{14: false, 0: false, 10: false} {
		st = stream{}
		st.add(seg, &sec, 0)
		next := sec
		next.Base = base
		if st.add(seg, &next, 64) != want {
			t.Errorf("base %d behind 10…14: want %v", base, want)
		}
	}
	next := sec
	next.Base = 15
	if !st.add(seg, &next, 64) || st.messages != 10 || len(st.spans) != 1 {
		t.Error("an offset that grows is refused")
	}
	if !st.attach(&segment{}, &run{first: 20, next: 30}) || st.attach(&segment{}, &run{first: 29, next: 31}) {
		t.Error("attach goes by something else")
	}
}

func TestFindReturnsTheSpanThatHoldsOrFollows(t *testing.T) {
	var st stream
	for _, r := range []*run{{first: 5, next: 10}, {first: 10, next: 20}, {first: 30, next: 40}} {
		st.attach(&segment{}, r)
	}
	for offset, want := range map[uint64]uint64{0: 5, 5: 5, 9: 5, 10: 10, 19: 10, 20: 30, 39: 30} {
		if sp, ok := st.find(offset); !ok || sp.run.first != want {
			t.Errorf("offset %d: run from %d, want %d", offset, sp.run.first, want)
		}
	}
	if _, ok := st.find(40); ok {
		t.Error("found something behind the end")
	}
}

func TestCompareStreams(t *testing.T) {
	sorted := []record.Stream{{Topic: 0, Partition: 9}, {Topic: 1, Partition: 0}, {Topic: 1, Partition: 1}, {Topic: 2, Partition: 0}}
	for i, a := range sorted {
		for j, b := range sorted {
			if compareStreams(a, b) != cmp.Compare(uint64(i), uint64(j)) {
				t.Errorf("%v and %v", a, b)
			}
		}
	}
}

// An image that was given up while a reader came must not become the next segment's under its hands.
func TestImageIsNotAcquiredAfterItsEnd(t *testing.T) {
	var pool imagePool
	m, err := pool.get(BlockBytes)
	if err != nil {
		t.Fatal(err)
	}
	if !m.acquire() {
		t.Fatal("not acquired")
	}
	m.release()
	m.release()
	if m.acquire() {
		t.Error("acquired after the last release")
	}
	again, err := pool.get(BlockBytes)
	if err != nil || &again.mem[0] != &m.mem[0] || again == m {
		t.Error("memory was not used again, or the object was")
	}
	if m.acquire() {
		t.Error("the old object came to life with the new one")
	}
	again.release()
	pool.trim(0)
	if pool.mapped.Load() != 0 {
		t.Error("still mapped:", pool.mapped.Load())
	}
}

func TestImageReleasedTwiceIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	m := &image{pool: &imagePool{}}
	m.release()
}

func TestNumberIn(t *testing.T) {
	for name, want := range map[string]bool{
		"00000000000000000042.aof": true, "0000000000000000042.aof": false, "00000000000000000042.aofx": false,
		"0000000000000000004x.aof": false, "99999999999999999999.aof": false, ".aof": false, "": false,
	} {
		if _, ok := numberIn(name, "", segmentSuffix); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
	if n, ok := numberIn("spare-00000000000000000007.ready", sparePrefix, readySuffix); !ok || n != 7 {
		t.Error(n, ok)
	}
}

func TestSegmentHeaderSurvivesItsBlock(t *testing.T) {
	h := segmentHeader{size: 64 << 10, seed: 1<<63 + 5, sequence: 9, createdMs: 1234, log: logID{1, 2, 3}}
	b := make([]byte, BlockBytes)
	for i := range b {
		b[i] = 0xee
	}
	h.put(b)
	if got, err := readSegmentHeader(b); err != nil || got != h {
		t.Fatalf("%+v %v", got, err)
	}
	for i := range b {
		b[i] ^= 1
		if _, err := readSegmentHeader(b); err == nil {
			t.Fatalf("byte %d changed and nobody noticed", i)
		}
		b[i] ^= 1
	}
	if _, err := readSegmentHeader(b[:100]); err == nil {
		t.Error("half a header was taken")
	}
}
