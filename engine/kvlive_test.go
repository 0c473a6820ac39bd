package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Alive are the present values and whatever is newer than the snapshot, however it is asked.
func TestKVAlive(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	rng := rand.New(rand.NewPCG(3, 3))
	change := func() {
		key := fmt.Sprint("k", rng.IntN(40))
		if rng.IntN(4) == 0 {
			w.kvDelete("ns", key, KVOptions{})
		} else {
			w.kvPut("ns", key, "v", KVOptions{})
		}
	}
	for range 300 {
		change()
	}
	w.commit()
	var all []KVSnapshot
	for i := range 3 {
		all = append(all, w.e.Shard(i).KVSnapshots()...)
	}
	s, bucket := w.kvShard("ns")
	stream, next := KVStream(bucket), s.engine.KVEnd(bucket)
	alive := map[uint64]bool{}
	s.KVList([]byte("ns"), nil, nil, 0, func(_ []byte, e KVEntry, live bool) bool { alive[e.Offset] = live; return true })
	for range 50 { // the trees go on
		change()
	}
	w.commit()
	a := NewKVAlive(all)
	for range 500 {
		first := rng.Uint64N(next + 10)
		end := first + rng.Uint64N(next)
		want, got, last := uint64(0), uint64(0), uint64(0)
		for o := first; o < end; o++ {
			if alive[o] || o >= next {
				want++
			}
		}
		a.Each(stream, first, end, func(from, to uint64) {
			if from < first || to > end || from >= to || got > 0 && from <= last {
				t.Fatalf("[%d, %d) of [%d, %d) behind %d", from, to, first, end, last)
			}
			for o := from; o < to; o++ {
				if !alive[o] && o < next {
					t.Fatal(o, "is dead")
				}
			}
			got, last = got+to-from, to
		})
		if got != want || a.Count(stream, first, end) != want {
			t.Fatalf("[%d, %d): %d in ranges, %d counted, want %d", first, end, got, a.Count(stream, first, end), want)
		}
	}
	if other := KVStream((bucket + 1) % KVBuckets); a.Count(other, 5, 9) != 4 {
		t.Fatal("of what is not known everything is alive")
	}
}
